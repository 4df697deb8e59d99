"""Runs side by side: those that differ by their seed only are one side."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from rlef.config import flat_values
from rlef.environment.types import EpisodeRecord
from rlef.evaluation.compare import ComparedRun
from rlef.evaluation.results import last_evaluation
from rlef.evaluation.specs import Measured, MetricSpec, measure
from rlef.run import RunError, RunFolder
from rlef.stored import is_evaluation, read_options

_SEED = "seed"
_OF_MACHINES = frozenset(
    {
        *("rollout.judge_workers", "judge.url", "rollout.keep_scores"),
        *("checkpoint_every", "keep_checkpoints", "trackers"),
    }
)
"""Settings that decide where programs run and what is kept, and nothing that is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A run of a side.

    Attributes:
        path: its folder.
        stage: its evaluation.
        compared: the episodes of that.
        settings: all of them, by their keys with dots.
        training: of an evaluation of a trained policy the settings of its training, where that
            run is still there; of a training its own.
    """

    path: Path
    stage: str
    compared: ComparedRun
    settings: Mapping[str, object]
    training: Mapping[str, object] | None = None

    @property
    def seed(self) -> int | None:
        """Of the training."""
        seed = self.training.get(_SEED) if self.training else None
        return seed if isinstance(seed, int) else None

    @property
    def likeness(self) -> str:
        """Equal for members that differ by the seed of their training or evaluation only.

        Settings of the machine they ran on may differ too.
        """
        own, training = (
            {k: v for k, v in settings.items() if k != _SEED and k not in _OF_MACHINES}
            for settings in (self.settings, self.training or {})
        )
        if self.training and is_evaluation(self.settings):
            own["model"] = Path(str(own["model"])).name  # of the checkpoint
        return json.dumps([self.stage, own, training], sort_keys=True, default=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What is compared: a run, or several with other seeds."""

    members: tuple[Member, ...]
    compared: ComparedRun
    """The episodes of all of them; of trainings by seed too."""

    def measured(self, spec: MetricSpec) -> Measured:
        """A metric over all episodes."""
        return measure(self.compared.records, spec, self.compared.turn_limit)

    @property
    def seeds(self) -> int:
        """How many there are of its training, or of the evaluation of one model."""
        return len(set(_seeds(self.members)))

    def over_seeds(self, spec: MetricSpec) -> tuple[float, float] | None:
        """Mean of a metric over the seeds, and their standard deviation; ``None`` of one."""
        found = _records_by_seed(self.members).values()
        if len(found) < 2:
            return None
        limit = self.compared.turn_limit
        rates = [measure(records, spec, limit).estimate for records in found]
        is_known = all(map(math.isfinite, rates))
        return fmean(rates), stdev(rates) if is_known else math.nan


def read_member(path: Path, stage: str | None = None) -> Member:
    """A run on disk.

    Args:
        path: Its folder.
        stage: Which evaluation of a training, see ``last_evaluation``.

    Raises:
        RunError: There is no run, or no evaluation in it.
        RunDamagedError: It cannot be read.
    """
    stage, compared = last_evaluation(path, stage)
    settings = flat_values(read_options(RunFolder(path)))
    training = _training_of(path, settings) if is_evaluation(settings) else settings
    return Member(path=path, stage=stage, compared=compared, settings=settings, training=training)


def _training_of(path: Path, settings: Mapping[str, object]) -> Mapping[str, object] | None:
    """Settings of the training whose checkpoint was evaluated.

    A relative name of the model is looked for here and in the folders above the evaluation.
    """
    model = settings.get("model")
    if not isinstance(model, str) or "checkpoints" not in Path(model).parts:
        return None
    for base in (Path(), *path.resolve().parents):
        place = base / model
        for folder in place.parents:
            if folder.name and (folder / "checkpoints") in place.parents:
                run = RunFolder(folder)
                options = read_options(run) if run.is_run() else {}
                if options and not is_evaluation(options):
                    return flat_values(options)
    return None


def sides_of(members: Sequence[Member], *, split: bool = True) -> list[Side]:
    """Runs whose settings are equal but for the seed as one side each, in order.

    Args:
        members: The runs.
        split: Whether each run is a side where all would be one.
    """
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.likeness, []).append(member)
    found = list(groups.values())
    if split and len(found) == 1:
        found = [[member] for member in members]
    names = _labels(found)
    return [
        Side(members=tuple(group), compared=_joined(group, name))
        for group, name in zip(found, names, strict=True)
    ]


def sampling_of(member: Member) -> str:
    """How its evaluation sampled, such as "T 0.2, top-p 0.95"; "" where that is not known."""
    section = "" if is_evaluation(member.settings) else "eval."
    section += "also." * member.stage.endswith("-also")
    temperature, top_p = (member.settings.get(section + key) for key in ("temperature", "top_p"))
    if not isinstance(temperature, int | float):
        return ""
    return f"T {temperature:g}" + (f", top-p {top_p:g}" if top_p not in (None, 1, 1.0) else "")


def differing_settings(sides: Sequence[Side]) -> dict[str, list[object]]:
    """Settings whose values are not the same on all sides, with a value for each side.

    Of the seed nothing is said where a side has several; ``None``: a side lacks the setting.
    """
    has_seeds = any(len(side.members) > 1 for side in sides)
    each = [
        {k: v for k, v in side.members[0].settings.items() if k != _SEED or not has_seeds}
        for side in sides
    ]
    keys = dict.fromkeys(key for settings in each for key in settings)
    found = {key: [settings.get(key) for settings in each] for key in keys}
    return {key: values for key, values in found.items() if any(v != values[0] for v in values)}


def _joined(group: Sequence[Member], name: str) -> ComparedRun:
    runs = [member.compared for member in group]
    hashes: dict[str, str] = {}
    for member in group:
        for problem, known in member.compared.hashes.items():
            if hashes.setdefault(problem, known) != known:
                raise RunError(
                    f"{member.path} has another problem of the name {problem} than "
                    f"{group[0].path}, which differs by its seed only; allowed: compare two of them"
                )
    records = [record for run in runs for record in run.records]
    return replace(runs[0], label=name, records=records, hashes=hashes, by_seed=_by_seed(group))


def _by_seed(group: Sequence[Member]) -> dict[int, Sequence[EpisodeRecord]]:
    """The episodes of several trainings; nothing for one, or for evaluations of one model."""
    if not all(member.training for member in group):
        return {}
    found = _records_by_seed(group)
    return found if len(found) > 1 else {}


def _seeds(group: Sequence[Member]) -> list[int]:
    """The seed of each; evaluations of one model count as one each."""
    return [place if one.seed is None else one.seed for place, one in enumerate(group)]


def _records_by_seed(group: Sequence[Member]) -> dict[int, Sequence[EpisodeRecord]]:
    """The episodes of each seed."""
    found: dict[int, Sequence[EpisodeRecord]] = {}
    for seed, member in zip(_seeds(group), group, strict=True):
        found[seed] = [*found.get(seed, ()), *member.compared.records]
    return found


def _labels(groups: Sequence[Sequence[Member]]) -> list[str]:
    """Short names, whole paths where these would be the same."""
    for whole in (False, True):
        names = [_label(group, whole=whole) for group in groups]
        if len(set(names)) == len(names):
            break
    return names


def _label(group: Sequence[Member], *, whole: bool) -> str:
    path = group[0].path
    if len(group) > 1 and len({member.path.parent for member in group}) == 1:
        path = path.parent if path.parent.name else path
    name = str(path) if whole else path.name or str(path)
    seeds = len(set(_seeds(group)))
    what = f"{seeds} seeds" if seeds > 1 else f"{len(group)} runs"
    return f"{name} ({what})" if len(group) > 1 else name
