"""What a training or an evaluation has come to so far, as lines that fit any width."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlef.cli.memory_use import memory_words
from rlef.run.files import finite

BEAT = 79
"""Longest line that says what the stage is."""
_CURVES_KEPT = 4000
_LEAST_CURVE, _MOST_CURVE = 8, 60
_MOST_TURNS = 4
_BAR = 24


@dataclass(kw_only=True)
class Shown:
    """What is shown; written by one thread, read by another, field by field.

    Attributes:
        title: what runs.
        updates: of the recipe; 0: an evaluation.
        stage, stage_since: what it is at, and since when.
        total, done: its parts, as ``Progress.stage`` has them.
        episodes: how far they are, where the stage has some; then their pace does not count what
            was there when they began, at ``episodes_since``.
        metrics: of the last batch.
        curves: solve rate by turn of each batch so far, by its key.
        left_s: seconds to the end of all, at a time; ``None``: not known.
    """

    title: str = ""
    updates: int = 0
    stage: str = "loading"
    stage_since: float = field(default_factory=time.monotonic)
    total: int = 0
    done: Callable[[], int] = lambda: 0
    episodes: Any = None
    episodes_since: float = 0.0
    metrics: Mapping[str, object] = field(default_factory=dict)
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    left_s: Callable[[float], float | None] = lambda _: None

    def begin_stage(self, name: str, total: int, done: Callable[[], int], now: float) -> None:
        """Takes what begins now."""
        if {self.stage, name} != {"sampling", "judging"}:  # of these two it is the same episodes
            self.episodes = None
        self.total, self.done = total, done
        if (self.stage, name) != ("loading", "loading"):  # which has parts that nobody counts
            self.stage, self.stage_since = name, now

    def take(self, metrics: Mapping[str, object]) -> None:
        """Takes the metrics of a batch."""
        self.metrics = metrics
        for key in metrics:
            if key.startswith("solve_rate/turn_"):
                curve = self.curves.setdefault(key, [])
                curve.append(number(metrics, key))
                del curve[:-_CURVES_KEPT]


def number(metrics: Mapping[str, object], key: str) -> float | None:
    """A number of a line of metrics; ``None`` where it has none, or it is undefined."""
    return finite(metrics.get(key))


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def beat(shown: Shown, now: float, width: int = BEAT) -> str:
    """The stage and how far it is, in one line of at most ``width`` characters."""
    count, unit, rate = _count(shown)
    left = _left(shown, now)
    ends = [f"{clock(left)} left" if left is not None else f"for {clock(now - shown.stage_since)}"]
    name = _stage_name(shown)
    for parts in (
        [f"{name} {count} {unit}" if count else name, rate, *ends],
        [f"{name} {count}" if count else name, rate, *ends],
        [f"{name} {count}" if count else name, *ends],
        [name, *ends],
    ):
        line = ", ".join(part for part in parts if part)
        if len(line) <= width:
            return line
    return shown.stage


def panel_lines(shown: Shown, width: int, now: float, signs: str) -> list[str]:
    """The lines of the panel, each at most ``width`` characters; the most important ones first."""
    lines = []
    update = number(shown.metrics, "update") or 0
    left = _left(shown, now)
    end = f"  {clock(left)} left" if left is not None else ""
    if shown.updates:
        lines.append(_with_bar(f"update {update:.0f}/{shown.updates}", update / shown.updates, end,
                               width, signs))  # fmt: skip
    count, unit, rate = _count(shown)
    name = _stage_name(shown)
    if count:
        done, total = (int(part) for part in count.split("/"))
        tail = f"  {rate}" if rate else ""
        first = f"{name} {count} {unit}"
        if not shown.updates:
            lines.append(_with_bar(first, done / max(total, 1), end, width, signs))
            lines += _flow([part for part in (rate, *_turns(shown.episodes)) if part], width)
        else:
            lines.append(_with_bar(first, done / max(total, 1), tail, width, signs))
    else:
        lines.append(f"{name}, for {clock(now - shown.stage_since)}")
    lines += _curves(shown, width, signs)
    lines += _flow(list(_fields(shown.metrics)), width)
    lines += _flow(list(_verdicts(shown.metrics)), width, first="last batch: ")
    lines += _flow([*_speeds(shown.metrics), *memory_words()], width)
    return [line for line in lines if len(line) <= width]


def _stage_name(shown: Shown) -> str:
    if shown.stage == "evaluating" and shown.episodes is not None and shown.updates:
        return str(shown.episodes.name)
    return shown.stage


def _count(shown: Shown) -> tuple[str, str, str]:
    """How many parts of the stage are done, what they are, and the rate of episodes, if any."""
    progress = shown.episodes
    if progress is not None and shown.stage in ("sampling", "judging", "evaluating"):
        unit = "episodes" if shown.stage == "evaluating" or not shown.updates else "rollouts"
        return f"{progress.done}/{progress.total}", unit, progress.rate()
    done = shown.done() if shown.total else 0
    return (f"{done}/{shown.total}", "steps", "") if done else ("", "", "")


def _left(shown: Shown, now: float) -> float | None:
    """Seconds to the end of all; of an evaluation by its pace."""
    if shown.updates:
        return shown.left_s(now)
    progress = shown.episodes
    if progress is None or not progress.new:
        return None
    pace = (now - shown.episodes_since) / progress.new
    return float(pace * (progress.total - progress.done))


def _turns(progress: Any) -> list[str]:
    """Solve rates by turn of the first episodes, where more than one turn solved some."""
    if len(progress.solved_by_turn) < 2 or not progress.counted:
        return []
    return [
        f"turn {turn} {100 * solved / progress.counted:.1f} %"
        for turn, solved in enumerate(progress.solved_by_turn, start=1)
    ]


def _with_bar(first: str, share: float, end: str, width: int, signs: str) -> str:
    room = min(_BAR, width - len(first) - len(end) - 2)
    if room < _LEAST_CURVE:
        return first + end if len(first + end) <= width else first
    full, empty = ("━", "─") if signs[-1] == "█" else ("#", "-")
    filled = round(room * min(1.0, max(0.0, share)))
    return f"{first}  {full * filled}{empty * (room - filled)}{end}"


def _curves(shown: Shown, width: int, signs: str) -> Iterator[str]:
    """A line per turn: the last rate and the curve over batches, all on one scale."""
    from rlef.report.sparkline import sparkline

    keys = [key for key, curve in list(shown.curves.items()) if any(x is not None for x in curve)]
    if len(keys) > _MOST_TURNS:
        keys = [*keys[: _MOST_TURNS - 1], keys[-1]]
    known = [x for key in keys for x in list(shown.curves[key]) if x is not None]
    names = [f"turn {key.rpartition('_')[2]}" for key in keys]
    room = min(_MOST_CURVE, width - max(map(len, names), default=0) - 11)
    for name, key in zip(names, keys, strict=True):
        curve = list(shown.curves[key])
        last = curve[-1]
        rate = "-" if last is None else f"{100 * last:.1f} %"
        line = sparkline(curve, max(1, room), low=min(known), high=max(known), signs=signs)
        yield f"{name} {rate:>8}  {line}".rstrip()


_FIELDS = (
    ("repair_rate", "repair", "{:.1%}"),
    ("reward", "reward", "{:.2f}"),
    ("kl", "KL", "{:.4f}"),
    ("entropy", "entropy", "{:.3f}"),
    ("explained_variance", "expl.var", "{:.2f}"),
    ("valid_solve_rate", "valid", "{:.1%}"),
    ("staleness", "staleness", "{:.2f}"),
    ("engine_gap", "engine gap", "{:.1e}"),
    ("logprob_gap", "log-prob gap", "{:.1e}"),
)


def _fields(metrics: Mapping[str, object]) -> Iterator[str]:
    for key, name, form in _FIELDS:
        value = number(metrics, key)
        if value is not None:
            yield f"{name} {form.format(value).replace('%', ' %')}"


def _verdicts(metrics: Mapping[str, object]) -> Iterator[str]:
    """The mix of the last batch, the most frequent first."""
    shares = {
        key.removeprefix("verdict/"): number(metrics, key) or 0.0
        for key in metrics
        if key.startswith("verdict/")
    }
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        if share:
            yield f"{'no program' if name == 'none' else name} {100 * share:.0f} %"


def _speeds(metrics: Mapping[str, object]) -> Iterator[str]:
    for key, name in (("tokens_per_s", "tokens/s"), ("tests_per_s", "tests/s")):
        value = number(metrics, key)
        if value is not None:
            yield f"{value:,.{0 if value >= 10 else 1}f} {name}"


def _flow(parts: Sequence[str], width: int, first: str = "") -> list[str]:
    """Parts side by side, in as many lines as they need; none is broken."""
    lines: list[str] = []
    line = first
    gap = ""
    for part in parts:
        if len(line) + len(gap) + len(part) > width and line.strip():
            lines.append(line)
            line, gap = " " * len(first), ""
        line += gap + part
        gap = "   "
    return [*lines, line] if parts else []
