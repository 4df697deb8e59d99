#!/usr/bin/env bash
# Makes a Python environment with one package of docs/integrations and this clone of rlef.
# Each has its own, since their pins clash.
set -euo pipefail

usage="usage: dev/integrations_env.sh verifiers|inspect|trl|verl|lm_eval FOLDER"
torch=2.13.0 extra="[train]"
if [ $# -ne 2 ] || [[ $2 == -* ]]; then
    echo "$usage" >&2
    exit 2
fi
case $1 in
    verifiers) packages=("verifiers==0.4.0") ;;
    inspect) packages=("inspect-ai==0.3.285" "openai>=2.25") ;;
    trl) packages=("trl==1.16.0") ;;
    verl)
        # what verl 0.9's trainer imports and its requirements leave to its extras
        packages=("verl==0.9.1" "TransferQueue>=0.1.10" cachetools fastapi msgspec pyzmq uvicorn scipy)
        extra= # rlef[train] wants a newer transformers than verl allows
        ;;
    lm_eval) packages=("lm-eval[hf]==0.4.13") ;;
    *)
        echo "$usage" >&2
        exit 2
        ;;
esac
clone=$(cd "$(dirname "$0")/.." && pwd)

python3 -m venv "$2"
export PIP_NO_COMPILE=1  # the first import does it for what is used
pip() { "$1/bin/python" -m pip --disable-pip-version-check "${@:2}"; }
# first, from this machine or PyTorch's own index: PyPI has the build for CUDA, several gigabytes
pip "$2" install --quiet --no-deps --no-index "torch==$torch" 2> /dev/null ||
    pip "$2" install --quiet --no-deps "torch==$torch" --index-url https://download.pytorch.org/whl/cpu
pip "$2" install --quiet "torch==$torch" "${packages[@]}" pytest -e "$clone$extra"
pip "$2" install --quiet --no-deps -e "$clone/integrations"
echo "RLEF_${1^^}_PYTHON=$2/bin/python"
