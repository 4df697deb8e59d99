import importlib.util
import json
import subprocess
from pathlib import Path

import pytest
from vllm_here import MODELS, environment, model_folder, vllm_python

from rlef.engines import ModelError
from rlef.engines.open import open_engine

CLOSE = 1e-3
NO_VLLM = importlib.util.find_spec("vllm") is None


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_hf_and_vllm_agree(name: str) -> None:
    python, folder = vllm_python(), model_folder(name)
    script = str(Path(__file__).with_name("vllm_checks.py"))
    done = subprocess.run(
        [python, script, str(folder)], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    for sampling, differences in result["differences"].items():
        # the last token that top-p lets in may be the first that it does not
        inside = [abs(x) for x in differences if x != float("-inf")]
        print(f"{name}, {sampling}: {len(inside)} tokens differ by {max(inside):.1e} at most")
        assert max(inside) < CLOSE
        assert len(differences) > 50 and len(differences) - len(inside) <= len(differences) / 50
    assert result["same_seed"] and not result["other_seed"]
    assert result["greedy_vllm"] == result["greedy_hf"] and result["greedy_logprobs"] == [0.0]
    assert all(result["stops"])
    assert all(1 <= length <= 3 for length in result["at_limit"])
    assert result["refused"] == "a prompt has 256 tokens; allowed: 1 to 255 (max_context less one)"


@pytest.mark.skipif(not NO_VLLM, reason="vllm is installed here")
def test_without_vllm_one_line_says_what_to_do() -> None:
    line = r'not installed; .*pip install "rlef\[vllm\]".*engines.md'
    with pytest.raises(ModelError, match=line):
        open_engine("vllm", "mini")
