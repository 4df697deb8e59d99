"""Trained policies beside many independent answers of untrained models, as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rlef.evaluation.compare import ComparedRun, on_problems, results_by_seed, shared_problems
from rlef.evaluation.sample_ratio import SampleRatio, independent_curves, sample_ratio
from rlef.evaluation.sides import Member, Side, sampling_of
from rlef.evaluation.specs import MetricSpec

_PAPER = (10, 100)
"""Submissions and answers of the paper's 10@100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioRow:
    """A side beside an untrained model."""

    side: Side
    untrained: Member
    any_right: SampleRatio
    """Any right answer counts: pass@k."""
    one_submitted: SampleRatio
    """One is submitted that passes the public tests, as of the trained policy: 1@k."""
    paper: float | None
    """10@100 of the untrained model; ``None`` with fewer answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioTable:
    """All sides beside all untrained models."""

    found: tuple[RatioRow, ...]

    @classmethod
    def of(cls, sides: Sequence[Side], untrained: Sequence[Member]) -> "RatioTable":
        """Works it out.

        Raises:
            ValueError: Two share no problem.
        """
        return cls(found=tuple(_row(side, model) for side in sides for model in untrained))

    def headings(self) -> list[str]:
        """Headings of ``rows``."""
        return [
            *("run", "seeds", f"1@{self._turns()} %", "untrained", "answers, any right"),
            *("ratio", "answers, one submitted", "ratio", "10@100 %"),
        ]

    def rows(self) -> list[list[str]]:
        """A row for each side and untrained model, rates in percent."""
        return [
            [
                _named(each.side.compared.label, sampling_of(each.side.members[0])),
                str(each.any_right.seeds),
                f"{100 * each.any_right.trained:.1f}" + self._limit(each.any_right),
                _named(each.untrained.compared.label, sampling_of(each.untrained)),
                each.any_right.text(),
                each.any_right.text(per_turn=True),
                each.one_submitted.text(),
                each.one_submitted.text(per_turn=True),
                "-" if each.paper is None else f"{100 * each.paper:.1f}",
            ]
            for each in self.found
        ]

    def _turns(self) -> str:
        """The turn limit of all runs; ``k`` where they differ, then ``_limit`` says each."""
        limits = {row.any_right.turns for row in self.found}
        return str(*limits) if len(limits) == 1 else "k"

    def _limit(self, ratio: SampleRatio) -> str:
        return f" (k={ratio.turns})" if self._turns() == "k" else ""

    def notes(self) -> list[str]:
        """What a reader of the table must know, one sentence a line."""
        first = self.found[0].any_right
        is_one = len({(row.any_right.problems, row.any_right.seeds) for row in self.found}) == 1
        of_seeds = f"{first.seeds} seeds" if is_one else "seeds, where there are several"
        over = "problems only" if is_one and first.seeds == 1 else f"problems and {of_seeds}"
        number = f"{first.problems} problems" if is_one else "the problems that both have"
        turns = self._turns()
        lines = [
            "answers: independent first answers of the untrained model that solve as much as 1@"
            f"{turns} of the run, on {number}, 95 % interval over {over}; "
            f"ratio: answers / {turns}; > N: more than were drawn",
            "any right: solved if one of them is (pass@k), as if somebody knew which; one "
            "submitted: one that passes the public tests (1@k), as of the run itself",
        ]
        for each in {row.untrained.path: row for row in self.found}.values():
            lines.append(
                f"{each.untrained.compared.label}: {each.any_right.most} answers, any right "
                f"{100 * each.any_right.independent:.1f} %, one submitted "
                f"{100 * each.one_submitted.independent:.1f} %"
            )
        return lines

    def to_json(self) -> dict[str, object]:
        """All numbers as JSON values."""
        return {
            "ratios": [
                {
                    "run": row.side.compared.label,
                    "runs": [str(member.path) for member in row.side.members],
                    "stage": row.side.members[0].stage,
                    "sampling": sampling_of(row.side.members[0]),
                    "untrained": str(row.untrained.path),
                    "untrained_sampling": sampling_of(row.untrained),
                    "any_right": row.any_right.to_json(),
                    "one_submitted": row.one_submitted.to_json(),
                    "10@100": row.paper,
                }
                for row in self.found
            ]
        }


def _row(side: Side, untrained: Member) -> RatioRow:
    shared = shared_problems(side.compared, untrained.compared)
    trained, model = (on_problems(run, shared) for run in (side.compared, untrained.compared))
    any_right, one_submitted = (_ratio(trained, model, n) for n in (None, 1))
    paper = None
    submissions, answers = _PAPER
    if any_right.most >= answers:
        curves = independent_curves(model.records, submissions).values()
        paper = fmean(float(curve[answers - 1]) for curve in curves)
    return RatioRow(
        side=side,
        untrained=untrained,
        any_right=any_right,
        one_submitted=one_submitted,
        paper=paper,
    )


def _ratio(trained: ComparedRun, model: ComparedRun, submissions: int | None) -> SampleRatio:
    turns = trained.turn_limit
    return sample_ratio(
        results_by_seed(trained, MetricSpec(1, turns)),
        turns,
        independent_curves(model.records, submissions),
        f"{submissions or 'pass'}@k",
    )


def _named(label: str, sampling: str) -> str:
    return f"{label} ({sampling})" if sampling else label
