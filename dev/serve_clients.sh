#!/bin/bash
# usage: serve_clients.sh FOLDER
# Fetches the clients that tests/serve/real_clients.py asks with, as they are, and an environment for
# them. Then: RLEF_SERVE_CLIENTS=FOLDER pytest tests/serve/test_real_clients.py
set -euo pipefail
mkdir -p "$1"
cd "$1"
fetch() {
  [[ -d $2 ]] && return
  git clone --quiet --depth 1 --filter=blob:none --sparse "https://github.com/$1.git" "$2"
  git -C "$2" sparse-checkout set "$3"
}
fetch verl-project/verl verl verl/utils/reward_score
fetch bytedance/SandboxFusion sandbox-fusion scripts/client
fetch allenai/open-instruct open-instruct open_instruct
fetch huggingface/open-r1 open-r1 src/open_r1/utils
python3 -m venv env
env/bin/pip install --quiet requests aiohttp tenacity async_lru 'pydantic>=2' schemathesis
