"""Episodes that the judge failed at are run again by an evaluation that goes on."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from episode_makers import infra, solved

from rlef.evaluation.episodes import run_episodes
from rlef.evaluation.samples import Sample, judge_samples
from rlef.evaluation.specs import parse_metrics
from rlef.problems import Problem, Test
from rlef.run import RunFolder
from rlef.sandbox import JudgeReport, TestReport, Verdict

PROBLEMS = [
    Problem(name=name, statement="s", public_tests=(Test("1", "1"),), private_tests=())
    for name in ("a", "b", "c")
]


class Episodes:
    """Ends each episode at once; those of some problems cannot be judged."""

    def __init__(self, unjudged: str) -> None:
        self.unjudged, self.asked = unjudged, list[str]()
        self._waiting: list[tuple[int, Problem]] = []

    def submit(self, index: int, request: Any) -> None:
        self.asked.append(request.problem.name)
        self._waiting.append((index, request.problem))

    def finished(self, timeout_s: float) -> list[tuple[int, Any]]:
        waiting, self._waiting = self._waiting, []
        return [
            (
                index,
                SimpleNamespace(record=(infra if one.name in self.unjudged else solved)(one.name)),
            )
            for index, one in waiting
        ]


def rates(run: RunFolder, unjudged: str, **words: bool) -> tuple[list[str], list[str]]:
    """What was asked for, and how all episodes stopped."""
    episodes: Any = Episodes(unjudged)
    records = run_episodes(episodes, PROBLEMS, 1, 0, run, "eval", lambda _: None, **words)
    return episodes.asked, [record.stop.value for record in records]


def test_episodes_of_a_model(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "model: x\n")
    well, ill = "public_passed", "infra_error"
    assert rates(run, "bc") == (["a", "b", "c"], [well, ill, ill])
    assert rates(run, "", retry=False) == ([], [well, ill, ill])
    assert rates(run, "c") == (["b", "c"], [well, well, ill])
    assert len(run.read_rollouts("eval")) == 3
    assert rates(run, "") == (["c"], [well, well, well])
    assert rates(run, "abc") == ([], [well, well, well])


def test_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.create(tmp_path / "run", "samples: x\n")
    asked: list[int] = []
    verdicts = {"b": Verdict.IE}

    class Judge:
        def __enter__(self) -> "Judge":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def judge_stream(self, jobs: Any) -> Any:
            for place, job in enumerate(jobs):
                asked.append(place)
                verdict = verdicts.get(job.source, Verdict.AC)
                yield place, JudgeReport(verdict=verdict, tests=(TestReport(verdict=verdict),))

    monkeypatch.setattr("rlef.evaluation.samples.open_judge", lambda *_: Judge())

    def judged() -> tuple[int, int]:
        asked.clear()
        samples = [
            Sample(place=one.name, problem=one, text=one.name, program=one.name) for one in PROBLEMS
        ]
        metrics: Sequence[Any] = parse_metrics("pass@1")
        judge_samples(samples, PROBLEMS, run, metrics, name="x", data="d")
        left = [entry for entry in run.read_rollouts("eval") if entry["stop"] == "infra_error"]
        return len(asked), len(left)

    assert judged() == (3, 1)
    verdicts.clear()
    assert judged() == (1, 0)
    assert judged() == (0, 0)
