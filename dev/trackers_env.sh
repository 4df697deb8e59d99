#!/bin/bash
# Makes an environment with the trackers' packages beside those of the present one, for the tests
# of tests/train/test_trackers.py. The trackers pin packages that others here use too, so they stay
# out of the environment that all work in.
#
#     dev/trackers_env.sh /tmp/trackers && /tmp/trackers/bin/python -m pytest tests/train/test_trackers.py
set -euo pipefail
if [ $# -ne 1 ]; then
    echo "usage: dev/trackers_env.sh DEST" >&2
    exit 2
fi
dest=$1
python=${PYTHON:-python}
"$python" -m venv "$dest"
site=$("$dest/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# packages of DEST come first: a .pth adds to the end of the path
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$site/rlef-beside.pth"
"$dest/bin/python" -m pip install --quiet --disable-pip-version-check \
    "tensorboard>=2.18" "wandb>=0.19" "trackio>=0.5" "mlflow>=3.0"
"$dest/bin/python" - <<'END'
from importlib.metadata import version

for name in ("tensorboard", "wandb", "trackio", "mlflow"):
    print(name, version(name))
END
