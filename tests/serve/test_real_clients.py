"""The clients of verl, SandboxFusion, open-instruct and open-r1 from their own sources."""

import os
import subprocess
from pathlib import Path

import pytest
from serving import ask, real

from rlef.sandbox import Sandbox
from rlef.serve.settings import ServeSettings

CLIENTS = os.environ.get("RLEF_SERVE_CLIENTS")
pytestmark = pytest.mark.skipif(
    not CLIENTS, reason="RLEF_SERVE_CLIENTS is not set: the folder of dev/serve_clients.sh"
)


@pytest.mark.slow
def test_clients_of_others_with_a_token_in_their_url(sandbox: Sandbox) -> None:
    assert CLIENTS is not None
    with real(sandbox, ServeSettings(token="s:cret")) as where:
        url = f"http://rlef:s%3Acret@{where}"
        script = Path(__file__).with_name("real_clients.py")
        command = [f"{CLIENTS}/env/bin/python", str(script), CLIENTS, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert done.stdout.count(": fine") == 4


@pytest.mark.slow
def test_the_schema_holds(sandbox: Sandbox) -> None:
    """Requests that schemathesis makes of the schema get answers of the kinds that it names."""
    checks = "status_code_conformance,content_type_conformance,response_schema_conformance"
    with real(sandbox, ServeSettings(max_seconds=10)) as where:
        command = [f"{CLIENTS}/env/bin/schemathesis", "run", f"http://{where}/openapi.json"]
        command += ["--max-examples", "25", "--seed", "1", "--suppress-health-check", "all"]
        command += ["--checks", checks, "--request-timeout", "60", "--no-color"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        counted = ask(where, "/metrics")[1]
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert 'status="200"' in counted and 'status="500"' not in counted
