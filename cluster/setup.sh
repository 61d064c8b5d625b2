#!/usr/bin/env bash
# setup.sh [EXTRAS]: install the package on one host of a cluster. Called on every host by the
# setup_commands of cluster.yaml, aws.yaml and gcp.yaml. It can be run again at any time.
set -euo pipefail

extras=${1:-cluster}
private=$HOME/.lorac-sweeps
project=$HOME/lorac-sweeps

fail() {
    printf 'setup.sh on %s: %s\n' "$(hostname)" "$1" >&2
    exit 1
}

# Whoever can read the token can run programs as this user on all hosts.
[ -s "$private/auth_token" ] || fail "$private/auth_token is missing or empty.
Make a token on the machine where you call 'ray up' (README.md, \"Token\")."
chmod -R go= "$private"

message=$(bash "$(dirname "${BASH_SOURCE[0]}")/check_env.sh" "$private/env") || fail "$message"

# fits PYTHON: a version that the package and its pins support, which can make environments.
fits() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# LORAC_PYTHON names an interpreter. Without it, the environment that is there is kept; a new one gets
# the newest interpreter that fits.
python=${LORAC_PYTHON:-}
if [ -n "$python" ]; then
    fits "$python" || fail "LORAC_PYTHON=$python is not a Python 3.11 or newer with venv."
elif ! fits "$project/.venv/bin/python"; then
    for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
        if fits "$candidate"; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail "no Python 3.11 or newer with venv was found ($(python3 --version 2>&1)).
On Debian 12 and Ubuntu 24.04: sudo apt-get install python3-venv. Elsewhere install a newer one, and name
it by LORAC_PYTHON=/path/to/python if it is not on PATH (ssh.md, \"Choices\")."
fi

# same_version PYTHON OTHER: both have the same minor version.
same_version() {
    [ "$("$1" -c 'import sys; print(sys.version_info[:2])')" = \
        "$("$2" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)" ]
}

cp "$(dirname "$0")"/project/* "$project"
cd "$project"
if [ -n "$python" ] && ! same_version "$python" .venv/bin/python; then
    "$python" -m venv --clear .venv
fi
rm -rf build # setuptools would package modules that have been deleted since
.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt ".[$extras]"

# One line in ~/.bashrc; a line of an older version is replaced.
touch "$HOME/.bashrc"
sed -i '/# lorac-sweeps$/d' "$HOME/.bashrc"
# shellcheck disable=SC2016  # expanded by the shell that reads ~/.bashrc
echo '. "$HOME/lorac-sweeps/cluster/environment.sh" # lorac-sweeps' >>"$HOME/.bashrc"
