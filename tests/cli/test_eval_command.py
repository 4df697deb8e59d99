import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlef.run import RunFolder

RATE = {"mean": 0.5, "low": 0.4, "high": 0.6}
STAGE = {"solve": RATE, "solve_rate_by_turn": [RATE, RATE], "repair_rate": RATE, "hidden": {}}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What the library function, of which there is only the signature, was called with."""
    seen: list[dict[str, Any]] = []

    def evaluate(**arguments: Any) -> dict[str, Any]:
        seen.append(arguments)
        return STAGE

    module = ModuleType("rlef.evaluation.evaluate")
    module.evaluate = evaluate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rlef.evaluation.evaluate", module)
    monkeypatch.chdir(tmp_path)
    return seen


def test_words_reach_the_library(rlef: Any, problems: str, calls: list[dict[str, Any]]) -> None:
    words = ["--turns", 2, "--samples", 4, "--limit", 1, "--temperature", 0, "--seed", 7]
    code, out, _ = rlef("eval", "a/model", "--data", problems, *words, "--out", "e")
    assert code == 0
    (call,) = calls
    assert call["model"] == "a/model"
    assert [problem.name for problem in call["problems"]] == ["double"]
    assert (call["turn_limit"], call["samples"], call["seed"]) == (2, 4, 7)
    assert (call["sampling"].temperature, call["sampling"].top_p) == (0.0, 0.95)
    assert call["run"].path == Path("e")
    assert out.splitlines()[1].split() == ["1@2", "50.0", "±10.0"]
    assert "1 problems, 4 episodes each" in out


def test_json_is_the_result(rlef: Any, problems: str, calls: list[dict[str, Any]]) -> None:
    code, out, _ = rlef("eval", "m", "--data", problems, "--json")
    assert (code, json.loads(out)) == (0, STAGE)
    assert calls[0]["run"].path.parent == Path("runs")


def test_folder_begun_with_other_words_is_refused(
    rlef: Any, problems: str, calls: list[dict[str, Any]]
) -> None:
    words = ["eval", "m", "--data", problems, "--out", "e"]
    assert rlef(*words).code == rlef(*words).code == 0
    RunFolder.open("e").append_rollouts("eval", [{"place": 0}])
    code, _, err = rlef(*words, "--samples", 2, "--seed", 1)
    assert code == 2
    assert err.startswith("rlef: e was begun with other values of samples, seed; allowed: ")
    assert len(calls) == 2
    assert "samples: 1\n" in RunFolder.open("e").read_config()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--turns", 0], "--turns"),
        (["--top-p", 2], "--top-p"),
        (["--prompts", "no"], "default, mini"),
    ],
)
def test_wrong_words_exit_with_2(
    rlef: Any, problems: str, calls: list[dict[str, Any]], words: list[object], message: str
) -> None:
    code, out, err = rlef("eval", "m", "--data", problems, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert calls == []
