"""What training stored of a rollout's scores."""

from dataclasses import dataclass
from typing import Any

from rlef.run.scores import read_scores, scores_path
from rlef.view.runs import Run


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a rollout: numbers of each turn, and of each token."""

    turns: dict[str, list[float] | None]
    tokens: dict[str, list[float] | None]

    def token(self, name: str, place: int) -> float | None:
        """The log-probability of a token; ``policy_logprob`` or ``ref_logprob``."""
        values = self.tokens[name]
        return values[place] if values and place < len(values) else None

    def turn(self, name: str, turn: int) -> float | None:
        """A number of a turn, by the name of its column."""
        values = self.turns[name]
        return values[turn] if values and turn < len(values) else None


def scores_of(run: Run, batch: int | None, index: int) -> Scores | None:
    """The scores of a training rollout; ``None`` where none were kept or they cannot be read."""
    if batch is None:
        return None
    path = scores_path(run.folder.training_path, batch)
    if not path.is_file() or not run.allowed(path):
        return None
    row: dict[str, Any] | None = read_scores(path, index)
    if row is None:
        return None
    return Scores(
        {name: row[name] for name in ("values", "returns", "advantages", "kl")},
        {"policy_logprob": row["policy_logprobs"], "ref_logprob": row["ref_logprobs"]},
    )
