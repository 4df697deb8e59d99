"""Files of a run folder as checked values: one model per kind of file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, Field, ValidationError

from rlef.config import ConfigError, first_fault
from rlef.config.yaml12 import parse_yaml
from rlef.run import RunDamagedError, RunFolder

EPISODES = "eval"
"""Name of the rollouts that ``rlef eval`` writes."""
Record = dict[str, Any]
Positive = Annotated[int, Field(ge=1)]
_Number = float | None
_TIMES = ("generate_s", "judge_wait_s", "rollout_s", "update_s", "masked_infra", "masked_no_room")
"""Numbers of a line of metrics that a summary needs."""


class EvaluationOptions(BaseModel, strict=True, extra="allow"):
    """``config.yaml`` of an evaluation: the words that it was begun with."""

    data: str
    model: str | None = None
    turns: Positive | None = None
    samples: Positive | None = None
    samples_file: str | None = None


class _Estimate(BaseModel, strict=True):
    mean: _Number
    low: _Number
    high: _Number


class _Stage(BaseModel, strict=True):
    solve: _Estimate
    solve_rate_by_turn: list[_Estimate]
    repair_rate: _Estimate
    hidden: dict[str, _Estimate] = {}
    independent: dict[str, _Estimate] = {}
    statistics: dict[str, Any] = {}


class _Measured(BaseModel, strict=True):
    estimate: _Number
    low: _Number
    high: _Number
    low_problems: _Number
    high_problems: _Number


class _EvaluationSummary(_Stage):
    turn_limit: Positive
    metrics: dict[str, _Measured]


class _Setting(BaseModel, strict=True):
    temperature: float
    top_p: float
    before: _Stage
    after: _Stage
    random_feedback: _Stage | None = None
    gain: _Estimate


class _TrainingSummary(_Setting):
    recipe: str
    seed: int
    updates: int
    wall_s: float
    parameters: int
    turn_limit: Positive
    test_problems: int
    samples_per_problem: int
    masked_infra: int
    timing_s: dict[str, float] = {}
    idle: dict[str, float] = {}
    also: _Setting | None = None


class _MetricsLine(BaseModel, strict=True, extra="allow"):
    __pydantic_extra__: dict[str, float | bool | None]
    update: int
    calibration: list[Annotated[list[_Number], Field(min_length=3, max_length=3)]] = []


def read_options(run: RunFolder) -> Record:
    """The config of a run as it stands in the file; dates are texts.

    Raises:
        RunDamagedError: It is no mapping, or that of an evaluation with something missing.
    """
    path = run.config_path
    try:
        options, _ = parse_yaml(path.read_text(encoding="utf-8"), "")
    except ConfigError as error:
        line, _, what = str(error).partition(": ")
        what = what.replace("YAML: ", "YAML, ")
        raise RunDamagedError(f"{path}{line} is damaged: {what}") from None
    except UnicodeDecodeError:
        _damaged(path, None, "no text in UTF-8, or not YAML")
    if not isinstance(options, dict):
        _damaged(path, None, "empty" if options is None else "no mapping of keys to values")
    if is_evaluation(options):
        _check(EvaluationOptions, options, path)
    return options


def is_evaluation(options: Mapping[str, Any]) -> bool:
    """Whether these are the words of ``rlef eval``, not the recipe of a training."""
    return bool({"samples_file", "turns"} & options.keys())


def read_summary(run: RunFolder, options: Mapping[str, Any] | None = None) -> Record | None:
    """What a training or an evaluation came to; ``None`` while it is not finished.

    Args:
        run: The run.
        options: From ``read_options``, where they are known already.

    Raises:
        RunDamagedError: Something is missing in it, or has another type than it should.
    """
    summary = run.read_summary()
    if summary is not None:
        of_evaluation = is_evaluation(read_options(run) if options is None else options)
        _check(_EvaluationSummary if of_evaluation else _TrainingSummary, summary, run.summary_path)
    return summary


def read_metrics(run: RunFolder, *, complete: bool = False) -> list[Record]:
    """The lines of ``metrics.jsonl``.

    Args:
        run: The run.
        complete: Whether to ask for the numbers that a summary needs as well.

    Raises:
        RunDamagedError: One is no number, or an update is missing.
    """
    lines = run.read_metrics()
    for number, line in enumerate(lines, start=1):
        _check(_MetricsLine, line, run.metrics_path, number)
        missing = [key for key in _TIMES if complete and line.get(key) is None]
        if missing:
            _damaged(run.metrics_path, number, f"{missing[0]} is missing")
    return lines


def _check(model: type[BaseModel], value: object, path: Path, line: int | None = None) -> None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        _damaged(path, line, first_fault(error))


def _damaged(path: Path, line: int | None, what: str) -> NoReturn:
    where = path if line is None else f"{path}:{line}"
    raise RunDamagedError(f"{where} is damaged: {what}") from None
