# shellcheck shell=bash
# Environment of every shell on a host of the cluster. setup.sh adds one line to ~/.bashrc that reads
# this file; Ray runs `ray up`, `ray submit` and `ray exec` commands after ~/.bashrc.
#
# Never put a secret into an environment variable here: Ray writes the environment of jobs to log
# files that every user of the host can read. Secrets stay in files; only their paths are exported.

export PATH="${LORAC_PROJECT:-$HOME/lorac-sweeps}/.venv/bin:$PATH"
export RAY_USAGE_STATS_ENABLED=0

# Without RAY_AUTH_MODE, workers and clients send no token, even if the token file exists.
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$HOME/.lorac-sweeps/auth_token"

# A trial that requests no GPU must not see one.
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1

# Settings of your own that are not secret: AWS_ENDPOINT_URL, AWS_REGION, HTTPS_PROXY, ...
if [ -f "$HOME/.lorac-sweeps/env" ]; then
    # shellcheck source=/dev/null
    . "$HOME/.lorac-sweeps/env"
fi

# Keys to the bucket, for hosts that have no identity of their own (README.md, "Keys").
if [ -f "$HOME/.lorac-sweeps/aws_credentials" ]; then
    export AWS_SHARED_CREDENTIALS_FILE="$HOME/.lorac-sweeps/aws_credentials"
fi
if [ -f "$HOME/.lorac-sweeps/gcp_credentials.json" ]; then
    export GOOGLE_APPLICATION_CREDENTIALS="$HOME/.lorac-sweeps/gcp_credentials.json"
fi

# Certificates made by make_tls.sh: from then on, gRPC connections between the nodes are encrypted.
if [ -f "$HOME/.lorac-sweeps/tls/ca.crt" ]; then
    export RAY_USE_TLS=1
    export RAY_TLS_CA_CERT="$HOME/.lorac-sweeps/tls/ca.crt"
    export RAY_TLS_SERVER_CERT="$HOME/.lorac-sweeps/tls/node.crt"
    export RAY_TLS_SERVER_KEY="$HOME/.lorac-sweeps/tls/node.key"
fi

# address_towards HOST: the address of this host on the network that leads to HOST. Without it, Ray
# announces the address of the default route, which on a host with two networks is the public one.
address_towards() {
    python3 - "$1" <<'PYTHON'
import socket, sys

try:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((socket.gethostbyname(sys.argv[1]), 9))  # sends nothing
        print(probe.getsockname()[0])
except OSError as error:
    sys.exit(f"address_towards: no route to {sys.argv[1]!r}: {error}")
PYTHON
}

# head_address: the head's address as the workers see it, from the cluster file that `ray up` copied.
head_address() {
    local peer
    peer=$(python3 -c 'import json, os
path = os.path.expanduser("~/ray_bootstrap_config.yaml")
provider = json.load(open(path))["provider"]
print((provider.get("worker_ips") or [provider["head_ip"]])[0])') && address_towards "$peer"
}
