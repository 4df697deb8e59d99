#!/bin/bash
# rlef on Slurm: a Ray cluster over the job's nodes, as Ray's guide has it
# (docs.ray.io/en/latest/cluster/vms/user-guides/community/slurm.html), and the training on the first.
#
#   sbatch --nodes=36 deploy/slurm.sh RUN paper-8b [KEY=VALUE ...]
#
# RUN is a folder that all nodes see. What is there is gone on from. Ten minutes before the time is
# up Slurm tells rlef to save, and the job stands in line again until the run has ended.
#SBATCH --job-name=rlef
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@600
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=rlef-%j.log
set -euo pipefail

if (($# < 2)); then
    echo "usage: sbatch [--nodes=N] deploy/slurm.sh RUN RECIPE [KEY=VALUE ...]" >&2
    exit 2
fi
run=$1 recipe=$2
shift 2
# Load what rlef needs here, on all nodes the same: module load cuda; source /shared/venv/bin/activate

head=${SLURMD_NODENAME:-$(hostname -s)}
port=${RLEF_RAY_PORT:-6379} # below 10000: Ray's processes take those above
address=$(hostname --ip-address | tr ' ' '\n' | grep -m1 -v -e : -e '^127\.' || echo 127.0.0.1):$port
nodes=${SLURM_JOB_NUM_NODES:-1}
export RAY_ADDRESS=$address RAY_USAGE_STATS_ENABLED=0
# Whoever reaches a Ray runs code as you: a token of this job alone lets its own processes in.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
# Also set where a node has several networks: NCCL_SOCKET_IFNAME, NCCL_IB_HCA.

echo "$nodes nodes, Ray at $address"
start() { # on some of the nodes, with all of their cores and GPUs
    srun --overlap --cpus-per-task="${SLURM_CPUS_ON_NODE:-1}" "$@" --block &
}
start --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="${address%:*}" --port="$port"
first=$!
if ((nodes > 1)); then
    start --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --exclude="$head" \
        ray start --address="$address"
fi

# Workers try for a while to reach the head by themselves; here all of them are waited for.
python - "$address" "$nodes" "$first" <<'PYTHON'
import os, socket, sys, time

address, wanted, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
deadline, found = time.monotonic() + 600, 0


def wait(found):
    try:
        os.kill(first, 0)
    except ProcessLookupError:
        sys.exit("the first node has no Ray: what ray start said stands above")
    if time.monotonic() > deadline:
        sys.exit(f"{found} of {wanted} nodes have a Ray after ten minutes; why stands above")
    time.sleep(2)


while True:
    try:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=2).close()
        break
    except OSError:
        wait(0)
import ray

ray.init(address, log_to_driver=False, logging_level="ERROR")
while (found := sum(node["Alive"] for node in ray.nodes())) < wanted:
    wait(found)
PYTHON

training='' told=0
trap 'told=1; [[ -z $training ]] || kill -TERM "$training" 2>/dev/null' TERM INT
if [[ -e $run/config.yaml ]]; then
    rlef train "$run" &
else
    rlef train "$recipe" --out "$run" cluster.address=auto "$@" &
fi
training=$!
if ((told)); then kill -TERM "$training"; fi
status=0
wait "$training" || status=$?
if ((told && status > 128)); then # a signal ended the wait, not the training
    status=0
    wait "$training" || status=$?
fi
if ((told)) && [[ ! -e $run/summary.json ]]; then
    echo "saved; the job stands in line again"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
