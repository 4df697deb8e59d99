"""Inputs and expected outputs of public tests: where they come from, and why not."""

import json
from pathlib import Path
from typing import Any

import pytest
from asking import Asker
from made_runs import CONFIG, lines, record, rollout

from rlef.problems import Problem, Test, load_problems
from rlef.problems.hashing import problem_hash
from rlef.problems.jsonl import write_jsonl
from rlef.problems.load import load_public_problems
from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.run.inputs import noted

SECRET = "4711"
PROBLEM = Problem(
    name="sums/0",
    statement="Add.",
    public_tests=(Test("1 1\n", "2\n"), Test("2 3\n", "5\n")),
    private_tests=(Test(f"{SECRET}\n", f"{SECRET}\n"),),
)
WORDS = {"id": "shown/one", "row": 0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set outside the folder that is shown."""
    path = tmp_path / "problems.jsonl"
    write_jsonl([PROBLEM], path)
    return path


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    def asked(**words: Any) -> Any:
        return Asker(tmp_path / "cache", tmp_path / "shown")("episode", **WORDS, **words)

    return asked


def make_training(shown: Path, data: Path) -> RunFolder:
    spec = f"jsonl:{data}"
    options: dict[str, Any] = {**CONFIG, "data": {"train": spec, "test": spec}}
    run = RunFolder.create(shown / "one", json.dumps(options))
    Ledger(run.training_path).add([(0, rollout(0, record("sums/0", ["WA", "AC"], solved=True)))])
    return run


def test_a_training_shows_the_tests_of_the_file_that_it_began_with(
    tmp_path: Path, data: Path, ask: Any
) -> None:
    run = make_training(tmp_path / "shown", data)
    unknown = ask(stage="train")
    assert unknown["statement"] is None
    assert unknown["tests_unknown"] == f"the run has not noted what {data} was when it began"
    run.write_inputs([noted(data, "data.train")])
    for _ in range(2):  # read, then as the cache has it
        found = ask(stage="train")
        assert found["statement"] == "Add." and found["tests_unknown"] is None
        passed, failed = found["turns"][0]["public_tests"]
        assert (passed["input"], passed["expected"], passed["got"]) == ("1 1", "2", None)
        assert (failed["input"], failed["expected"], failed["got"]) == ("2 3", "5", "6")
        assert SECRET not in json.dumps(found)
    cached = [path.read_bytes() for path in (tmp_path / "cache").rglob("problems-*.arrow")]
    assert len(cached) == 1 and SECRET.encode() not in cached[0]
    data.touch()  # another time, the same bytes
    assert ask(stage="train")["tests_unknown"] is None
    data.write_text(data.read_text().replace("Add", "Sum"))
    assert ask(stage="train")["tests_unknown"] == f"{data} is not what it was when the run began"
    data.unlink()
    found = ask(stage="train")
    assert found["tests_unknown"] == f"jsonl:{data} is not on this machine, or not at this path"
    assert found["turns"][0]["public_tests"][1]["input"] == "2 3"  # the feedback says it


def test_an_evaluation_shows_the_tests_of_problems_that_are_the_same(
    tmp_path: Path, data: Path, ask: Any
) -> None:
    options = {"model": "mini", "data": f"jsonl:{data}", "turns": 3}
    run = RunFolder.create(tmp_path / "shown" / "one", json.dumps(options))
    episode = record("sums/0", ["RE"])
    run.append_rollouts("eval", lines([episode], problem_hash=problem_hash(PROBLEM)))
    assert ask(stage="eval")["turns"][0]["public_tests"][0]["input"] == "1 1"
    run.write_rollouts("eval", lines([episode], problem_hash="another"))
    found = ask(stage="eval")
    assert found["tests_unknown"] == (
        f"the problem in jsonl:{data} is not what it was for this episode"
    )
    assert "1 1" not in json.dumps(found["turns"])
    run.write_rollouts("eval", lines([record("other", ["RE"])], problem_hash="another"))
    assert ask(stage="eval")["tests_unknown"] == f"jsonl:{data} has no problem of this name"
    data.write_text("nonsense\n")
    assert "problems.jsonl, line 1" in ask(stage="eval")["tests_unknown"]


def test_public_problems_are_those_of_all_and_have_their_hashes(data: Path) -> None:
    for spec in (f"jsonl:{data}", "mini:dev?first=3"):
        whole = load_problems(spec)
        found = load_public_problems(spec, run=lambda *_: [])
        assert found == [(problem.public, problem_hash(problem)) for problem in whole]
