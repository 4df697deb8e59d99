"""Counters of a service, in the text format that Prometheus reads."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
Labels = tuple[tuple[str, str], ...]


class Histogram:
    """How long something took."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Counts one."""
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str) -> Iterator[str]:
        """The lines of Prometheus."""
        total = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum}"
        yield f"{name}_count {total}"


class Metrics:
    """What a service has done since it began; for one thread.

    Attributes:
        requests: answers by path and status.
        programs: judged programs by verdict, IE among them.
        not_judged: programs of which nothing is known, by reason.
        refused: programs that were not taken, by reason.
        tests: tests that ran.
        restarts: judges that were replaced.
        again: programs that were judged anew after a verdict IE.
        seconds: from request to report.
        waited: in the queue.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.programs: Counter[str] = Counter()
        self.not_judged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.tests = 0
        self.restarts = 0
        self.again = 0
        self.seconds = Histogram()
        self.waited = Histogram()

    def text(self, now: Mapping[str, tuple[str, float]]) -> str:
        """All of them.

        Args:
            now: What is measured at this moment: name without prefix, to its help and value.
        """
        lines: list[str] = []
        requests = (((("path", p), ("status", str(s))), n) for (p, s), n in self.requests.items())
        lines += _counter("http_requests", "Answers by path and status.", requests)
        for name, help_text, counter, label in (
            ("programs", "Judged programs by verdict.", self.programs, "verdict"),
            ("not_judged", "Programs of which nothing is known.", self.not_judged, "reason"),
            ("refused", "Programs that were not taken.", self.refused, "reason"),
        ):
            lines += _counter(name, help_text, ((((label, w),), n) for w, n in counter.items()))
        lines += _counter("tests", "Tests that ran.", [((), self.tests)])
        lines += _counter("restarts", "Judges that were replaced.", [((), self.restarts)])
        lines += _counter("again", "Programs judged anew after IE.", [((), self.again)])
        for name, help_text, histogram in (
            ("seconds", "Seconds from request to report.", self.seconds),
            ("wait_seconds", "Seconds in the queue.", self.waited),
        ):
            lines += _head(name, help_text, "histogram")
            lines += histogram.lines(f"rlef_judge_{name}")
        for name, (help_text, value) in now.items():
            lines += [*_head(name, help_text, "gauge"), f"rlef_judge_{name} {value}"]
        return "\n".join(lines) + "\n"


def _head(name: str, help_text: str, kind: str) -> list[str]:
    return [f"# HELP rlef_judge_{name} {help_text}", f"# TYPE rlef_judge_{name} {kind}"]


def _counter(name: str, help_text: str, rows: Iterable[tuple[Labels, int]]) -> list[str]:
    lines = _head(f"{name}_total", help_text, "counter")
    for labels, value in rows:
        words = ",".join(f'{key}="{text}"' for key, text in labels)
        lines.append(f"rlef_judge_{name}_total{f'{{{words}}}' if words else ''} {value}")
    return lines
