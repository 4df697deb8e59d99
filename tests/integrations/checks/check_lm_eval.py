"""lm_eval's real evaluation of the mini model, and its scores."""

from pathlib import Path

import lm_eval_mini
import pytest
import rlef_lm_eval
from common import broken_judge

from rlef.environment import NotJudgedError, problems_by_name

DATA = "mini:train?first=1"


def test_scores_of_answers() -> None:
    row = rlef_lm_eval.rows(DATA)["test"][0]
    assert set(row) == {"prompt", "problem", "data"}
    right = problems_by_name(DATA)[row["problem"]].solutions[0]
    said = rlef_lm_eval.scores(row, [f"```python\n{right}\n```"])
    assert said == {"solved": 1, "passed_public": 1, "invalid": 0}
    assert rlef_lm_eval.scores(row, ["hm"]) == {"solved": 0, "passed_public": 0, "invalid": 1}


def test_no_problems_are_named() -> None:
    with pytest.raises(ValueError, match="no problems are named"):
        rlef_lm_eval.rows(version=1, dta="mini:dev")


def test_not_judged_ends_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlef_lm_eval, "shared_judge", broken_judge)
    with pytest.raises(NotJudgedError):
        rlef_lm_eval.scores(rlef_lm_eval.rows(DATA)["test"][0], ["```python\nx\n```"])


def test_the_mini_model(tmp_path: Path) -> None:
    found = lm_eval_mini.main(problems=2)
    results = found["results"]["rlef"]
    assert 0 <= results["solved,none"] <= results["passed_public,none"] <= 1
    assert found["n-samples"]["rlef"]["effective"] == 2
