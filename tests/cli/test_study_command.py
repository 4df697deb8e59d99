from pathlib import Path
from typing import Any

import pytest

from rlef.run import RunFolder

TINY = [
    *("updates=2", "rollout.batch=4", "learner.minibatch=4", "checkpoint_every=1"),
    *("rollout.max_new_tokens=24", "rollout.group=4", "rollout.turn_limit=2", "eval.problems=2"),
    "learner.warmup_updates=0",
]


@pytest.mark.slow
def test_a_study_is_run_once(rlef: Any, tmp_path: Path) -> None:
    words = ["study", "mini-study", *TINY, "--arms", "untrained,rlef,sft", "--jobs", "1"]
    words += ["--out", tmp_path / "s"]
    code, out, err = rlef(*words)
    assert code == 0, err
    assert "RLEF solves more than the untrained" in out
    assert out.rstrip().endswith("study.html")
    assert "[3/3] sft, seed 0: exam feedback: " in err
    run = RunFolder.open(tmp_path / "s" / "rlef" / "seed-0")
    files = {name: run.rollout_path(name).read_bytes() for name in run.rollout_names()}
    assert {"exam-feedback", "exam-random", "exam-independent", "exam-private"} <= files.keys()
    assert len(run.read_rollouts("exam-independent")) == 20
    path = run.rollout_path("exam-private")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:9])  # as a kill leaves it
    code, again, err = rlef(*words)
    assert code == 0, err
    assert path.read_bytes().startswith(lines[0])
    assert len(run.read_rollouts("exam-private")) == 2
    for name in files.keys() - {"exam-private"}:
        assert run.rollout_path(name).read_bytes() == files[name]
    assert again == out
    code, _, err = rlef(*words, "learner.lr=1")
    assert (code, "was begun with other values of learner.lr" in err) == (2, True)


@pytest.mark.slow
def test_parts_side_by_side_write_what_one_after_the_other_does(rlef: Any, tmp_path: Path) -> None:
    found = []
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        words = ["study", "mini-study", *TINY, "--arms", "untrained,rlef", "--out", out]
        code, _, err = rlef(*words, "--jobs", jobs)
        assert code == 0, err
        assert (out / "study.html").is_file()
        records = RunFolder.open(out / "untrained" / "seed-0").read_rollouts("exam-feedback")
        found.append(sorted(turn["response"] for r in records for turn in r["turns"]))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--budget", "huge"], "budget is 'huge'; allowed: quick, full"),
        (["--arms", "x"], "no arm 'x'; allowed: untrained, few-shot"),
        (["mini-study", "updates=x"], "updates"),
        (["no-such-recipe"], "no-such-recipe"),
        (["--page", "--out", "nowhere"], "nowhere holds no finished part of this study"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    rlef: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = rlef("study", *words)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert not any(tmp_path.iterdir())
