import json
import subprocess
import sys

import pytest

HEAVY = (
    *("torch", "transformers", "matplotlib", "scipy", "numpy", "pyarrow", "tokenizers"),
    "sacrebleu",
)
MAIN = """
from rlef.cli.main import main
try:
    main({})
except SystemExit as end:
    assert not end.code
"""


@pytest.mark.parametrize(
    "code",
    [
        "import rlef",
        "import rlef.sandbox",
        "import rlef.problems",
        "import rlef.environment",
        "import rlef.curation",
        "import rlef.config, rlef.run",
        "import rlef.engines.types",
        "import rlef.report",
        MAIN.format(["--help"]),
        MAIN.format(["train", "--help"]),
        MAIN.format(["train", "--help-settings"]),
        MAIN.format(["recipe", "ls"]),
        MAIN.format(["data", "check", "--help"]),
        MAIN.format(["view", "--help"]),
    ],
)
def test_import_stays_light(code: str) -> None:
    tail = f"\nimport json, sys; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_help_loads_the_command_line_only() -> None:
    """A third of a second else: jinja2, pydantic, the loaders."""
    tail = "\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", MAIN.format(["--help"]) + tail],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.splitlines()[-1].split()
    ours = [name for name in loaded if name.startswith("rlef.")]
    assert [
        name for name in ours if not name.startswith(("rlef.cli", "rlef.extras", "rlef.text"))
    ] == []
    assert not {"jinja2", "pydantic", "openai", "yaml", "rich"} & {*loaded}
