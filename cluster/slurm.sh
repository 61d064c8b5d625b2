#!/usr/bin/env bash
# One sweep as a Slurm job: a Ray cluster on the nodes of the job, ended with it. Guide: slurm.md.
#
# Edit the lines marked EDIT, then:
#
#     sbatch slurm.sh run mine.yaml --storage /shared/sweeps     # a folder that all nodes see
#     scancel --batch --signal=TERM JOBID                        # finish the running stages, then end
#
# Submit the same command again to continue: finished stages are in the storage. To use more time than
# one job may take, submit several; each waits for the one before it:
#
#     for n in 1 2 3; do sbatch --dependency=singleton slurm.sh run mine.yaml --storage /shared/sweeps; done
#
# Output: lorac-sweeps-JOBID.log, and what Ray says in lorac-sweeps-JOBID.NODE.log.
# The exit code of the job is that of the sweep: 0, 1 (a trial failed), 2 (wrong input), 130 (stopped).
#
#SBATCH --job-name=lorac-sweeps
#SBATCH --nodes=2                      # EDIT
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8              # EDIT: per node
#SBATCH --gpus-per-node=1              # EDIT: remove the line for a sweep without GPUs
#SBATCH --time=04:00:00                # EDIT
#SBATCH --signal=B:TERM@300            # EDIT: seconds before the end; more than one stage takes
#SBATCH --no-kill                      # the loss of one node does not end the job
#SBATCH --output=%x-%j.log

set -uo pipefail

export LORAC_PROJECT=${LORAC_PROJECT:-$HOME/lorac-sweeps}    # EDIT: the checkout; all nodes see it
message=$(bash "$LORAC_PROJECT/cluster/check_env.sh" "$HOME/.lorac-sweeps/env") || {
    printf 'slurm.sh: %s\n' "$message" >&2
    exit 2
}
# shellcheck source=environment.sh
. "$LORAC_PROJECT/cluster/environment.sh"        # the environment .venv, settings, paths of keys
export OMP_NUM_THREADS=1                         # trials set their threads from `train.threads`
export -f address_towards

say() { printf 'slurm.sh: %s\n' "$*" >&2; }

# The token of this job, in a file that all nodes see and only this user can read.
private=$HOME/.lorac-sweeps/slurm-$SLURM_JOB_ID
(umask 077 && mkdir -p "$private" &&
    python -c 'import secrets; print(secrets.token_hex(32))' >"$private/auth_token") || exit 1
export RAY_AUTH_TOKEN_PATH=$private/auth_token

# Several jobs may share a node: ports and the temporary folder depend on the number of the job.
port=$((20000 + SLURM_JOB_ID % 10000 * 4))
temporary=/tmp/lorac-$SLURM_JOB_ID               # short, for Ray makes sockets below it

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

# The head announces its address on the network that leads to the other nodes; a single node uses
# loopback only.
head_address=127.0.0.1
if [ ${#nodes[@]} -gt 1 ]; then
    head_address=$(address_towards "${nodes[1]}") || exit 1
fi
address=$head_address:$port

# start_node NODE OPTION...: one node of the Ray cluster, as a job step in the background.
start_node() {
    local node=$1
    shift
    # shellcheck disable=SC2016  # expanded on the node
    srun --nodes=1 --ntasks=1 --nodelist="$node" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
        bash -c 'exec ray start --node-ip-address="$(address_towards "$0")" "$@"' "$head_address" \
        "$@" --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --object-store-memory=200000000 \
        --temp-dir="$temporary" --dashboard-agent-listen-port=0 --block \
        >"lorac-sweeps-$SLURM_JOB_ID.$node.log" 2>&1 &
    steps+=($!)
}

steps=() driver='' signalled=''

# end_steps PID...: end job steps, by force if they take longer than 10 s.
# shellcheck disable=SC2317,SC2329  # called by trap
end_steps() {
    kill -TERM "$@" 2>/dev/null
    for _ in {1..50}; do
        kill -0 "$@" 2>/dev/null || return
        sleep 0.2
    done
    kill -KILL "$@" 2>/dev/null
}

# shellcheck disable=SC2317,SC2329  # called by trap
finish() {
    trap '' TERM INT
    # The workers first: without a head, a worker that is starting waits for one.
    [ ${#steps[@]} -lt 2 ] || end_steps "${steps[@]:1}"
    [ ${#steps[@]} -lt 1 ] || end_steps "${steps[0]}"
    rm -rf "$private"
}
trap finish EXIT

# shellcheck disable=SC2317,SC2329  # called by trap
drain() {
    signalled=yes
    say "the job ends soon: finishing the running stages"
    [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null
}
trap drain TERM INT

RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=2000 RAY_health_check_failure_threshold=5 \
    start_node "${nodes[0]}" --head --port="$port" --ray-client-server-port=$((port + 1)) \
    --include-dashboard=false

for attempt in {1..60}; do
    ray health-check --address "$address" >/dev/null 2>&1 && break
    if [ "$attempt" -eq 60 ] || ! kill -0 "${steps[0]}" 2>/dev/null; then
        say "the head did not start on ${nodes[0]}:"
        tail -n 20 "lorac-sweeps-$SLURM_JOB_ID.${nodes[0]}.log" >&2
        exit 1
    fi
    sleep 1
done
for node in "${nodes[@]:1}"; do
    start_node "$node" --address="$address"
done

[ -z "$signalled" ] || exit 130

# Nodes may join while the sweep runs already.
arguments=("$@")
[ "${1:-}" != run ] || arguments=(run --address "$address" "${@:2}")
python "$LORAC_PROJECT/cluster/sweep.py" "${arguments[@]}" &
driver=$!

# `wait` returns early when a signal arrives; the driver then still finishes its stages.
while :; do
    wait "$driver"
    code=$?
    [ -n "$signalled" ] || break
    signalled=''
done
exit "$code"
