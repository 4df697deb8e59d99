"""Which rollouts a batch takes, side by side: how long the learner waits, how even batches are.

    python benchmarks/batch_order.py [BATCHES]     # 200 of each, a minute

A simulation of seconds: no model, no clock. Answers take what was recorded (`bench/recorded.py`),
each turn solves its problem by chance, and solved episodes end first. What is asked for, and when,
and which rollouts are too old, is as in `train/batches.py`. Two kinds of engines: one that samples
each answer by itself (`vllm`), and one of two fixed groups in turn (`hf`).

Ways to take a batch of B rollouts:

    first    the first B that ended (what the loop does)
    index    the B lowest indices, however long they take, but for those that would be too old
    ended    as soon as B have ended the B lowest indices of these
    patient  the B lowest indices; as soon as B and half a batch more have ended the lowest of these
"""

import heapq
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from math import sqrt
from statistics import mean, stdev

from rlef.bench.recorded import ANSWERS

BATCH, STALENESS, TURNS = 64, 2, 3
SOLVES = 0.33
"""Chance of a turn to solve its problem: 70 % of episodes are solved, as late in a mini run."""
MEAN_S = mean(seconds for _, seconds in ANSWERS)
EPISODE_S = MEAN_S * sum((1 - SOLVES) ** turn for turn in range(TURNS))
JUDGE_S = 0.05 * MEAN_S
WARM = 20
"""Batches that are left out."""
PATIENCE = {"ended": 0.0, "patient": 0.5}
HANGS_S = 60 * MEAN_S
"""Of an answer that hangs until its actor is found out and another one samples the episode."""


@dataclass(slots=True, eq=False)
class Episode:
    index: int
    version: int | None = None
    """Batches that its first answer's policy had learnt from; ``None``: not begun."""
    turn: int = 0
    solved: bool = False


@dataclass(slots=True)
class World:
    """What time it is, what happens next, and the policy that engines have."""

    random: random.Random
    hangs: float
    now: float = 0.0
    version: int = 0
    ended: list[Episode] = field(default_factory=list)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def after(self, seconds: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), work))

    def step(self, until: float) -> None:
        """Lets the next thing happen, or time pass."""
        if not self._events or self._events[0][0] > until:
            assert self._events or until < 1e12, "nothing happens any more"
            self.now = until
            return
        self.now, _, work = heapq.heappop(self._events)
        work()

    def answer_s(self) -> float:
        if self.random.random() < self.hangs:
            return HANGS_S
        return float(self.random.choice(ANSWERS)[1])

    def begin(self, episode: Episode) -> None:
        if episode.version is None:
            episode.version = self.version

    def judge(self, episode: Episode, on: Callable[[Episode], None]) -> None:
        """Judges an answer; ``on`` goes on with what is not at its end."""

        def judged() -> None:
            episode.turn += 1
            episode.solved = self.random.random() < SOLVES
            if episode.solved or episode.turn == TURNS:
                self.ended.append(episode)
            on(episode)

        self.after(JUDGE_S, judged)


def over(episode: Episode) -> bool:
    return episode.solved or episode.turn == TURNS


class OneByOne:
    """Samples each answer by itself, so many at once."""

    def __init__(self, world: World) -> None:
        self._world, self._free = world, BATCH // 2
        self._waiting: deque[Episode] = deque()

    batch_s = BATCH * EPISODE_S / (BATCH // 2)
    """Seconds for a batch's worth of episodes."""

    def submit(self, episode: Episode) -> None:
        self._waiting.append(episode)
        while self._free and self._waiting:
            self._sample(self._waiting.popleft())

    def _sample(self, episode: Episode) -> None:
        self._free -= 1
        self._world.begin(episode)

        def done() -> None:
            self._free += 1
            self._world.judge(episode, lambda one: None if over(one) else self.submit(one))
            if self._waiting:
                self._sample(self._waiting.popleft())

        self._world.after(self._world.answer_s(), done)


class InGroups:
    """Two groups of a batch each take turns; a group ends with its last episode."""

    def __init__(self, world: World) -> None:
        self._world, self._busy = world, False
        self._waiting: deque[Episode] = deque()
        self._groups: deque[list[Episode]] = deque()
        self._judging: set[int] = set()

    batch_s = TURNS * max(seconds for _, seconds in ANSWERS)
    """About: nearly each group has three rounds, each as long as its longest answer."""

    def submit(self, episode: Episode) -> None:
        self._waiting.append(episode)
        self._world.after(0.0, self._look)

    def _look(self) -> None:
        if self._busy:
            return
        while True:
            while len(self._groups) < 2 and self._waiting:
                self._groups.append(self._new())
            if not self._groups:
                return
            if group := [one for one in self._groups[0] if not over(one)]:
                break
            self._groups.popleft()
            if self._waiting:
                self._groups.appendleft(self._new())
        if any(one.index in self._judging for one in group):
            return
        self._busy = True
        for one in group:
            self._world.begin(one)
        self._world.after(max(self._world.answer_s() for _ in group), lambda: self._sampled(group))

    def _new(self) -> list[Episode]:
        return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _sampled(self, group: list[Episode]) -> None:
        self._busy = False
        self._groups.rotate(-1)
        for one in group:
            self._judging.add(one.index)
            self._world.judge(one, self._judged)
        self._world.after(0.0, self._look)

    def _judged(self, episode: Episode) -> None:
        self._judging.discard(episode.index)
        self._look()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Of one run: shares of 1; ``spread`` to what chance alone makes of the solve rate."""

    idle: float
    longest_wait: float
    spread: float
    over_95: float
    lowest: float
    staleness: float
    dropped: float


class Loop:
    """``Batches``, and a learner that sleeps."""

    def __init__(self, engine: type[OneByOne | InGroups], way: str, seed: int, hangs: float):
        self._world = World(random.Random(seed), hangs)
        self._engine = engine(self._world)
        self._way = way
        self._all: dict[int, Episode] = {}
        """That are in no batch and not dropped, by index."""
        self._pending: list[Episode] = []
        self._under_way = 0
        self._ahead = STALENESS
        self._next = count()
        self.dropped = 0

    def run(self, batches: int, slack: float) -> Found:
        world, update_s = self._world, slack * self._engine.batch_s
        waits, rates, staleness = [], [], []
        for number in range(batches):
            if not self._under_way and len(self._pending) > BATCH:
                self._ahead = max(1, self._ahead - 1)
            self._ask()
            asked = world.now
            while (batch := self._take(number)) is None:
                self._ahead = min(STALENESS, self._ahead + 1)
                self._ask()
                world.step(1e12)
                self._collect()
            if number >= WARM:
                waits.append(world.now - asked)
                rates.append(mean(one.solved for one in batch))
                staleness += [number - (one.version or 0) for one in batch]
            else:
                self.dropped = 0
            end = world.now + update_s
            while world.now < end:
                world.step(end)
                self._collect()
            world.version = number + 1
        rate, worked = mean(rates), update_s * len(rates)
        return Found(
            idle=sum(waits) / (sum(waits) + worked),
            longest_wait=max(waits) / MEAN_S,
            spread=stdev(rates) / sqrt(rate * (1 - rate) / BATCH),
            over_95=mean(one >= 0.95 for one in rates),
            lowest=min(rates),
            staleness=mean(staleness),
            dropped=self.dropped / (self.dropped + BATCH * len(rates)),
        )

    def _ask(self) -> None:
        missing = (1 + self._ahead) * BATCH - self._under_way - len(self._pending)
        for _ in range(missing):
            episode = Episode(next(self._next))
            self._all[episode.index] = episode
            self._engine.submit(episode)
            self._under_way += 1

    def _collect(self) -> None:
        self._under_way -= len(self._world.ended)
        self._pending += self._world.ended
        self._world.ended.clear()

    def _take(self, number: int) -> list[Episode] | None:
        too_old = [one for one in self._pending if self._is_too_old(one, number)]
        for one in too_old:
            self._pending.remove(one)
            del self._all[one.index]
        self.dropped += len(too_old)
        batch = self._choose(number)
        for one in batch or ():
            self._pending.remove(one)
            del self._all[one.index]
        return batch

    def _choose(self, number: int) -> list[Episode] | None:
        if self._way == "first":
            return self._pending[:BATCH] if len(self._pending) >= BATCH else None
        lowest = sorted(
            (one for one in self._all.values() if not self._is_too_old(one, number)),
            key=lambda one: one.index,
        )[:BATCH]
        ended = set(map(id, self._pending))
        if len(lowest) == BATCH and all(id(one) in ended for one in lowest):
            return lowest
        patience = PATIENCE.get(self._way)
        if patience is not None and len(self._pending) >= (1 + patience) * BATCH:
            return sorted(self._pending, key=lambda one: one.index)[:BATCH]
        return None

    @staticmethod
    def _is_too_old(episode: Episode, number: int) -> bool:
        return episode.version is not None and number - episode.version > STALENESS


def main(batches: int) -> None:
    for hangs in (0.0, 1 / 5000):
        what = "no answer hangs" if not hangs else f"1 of 5,000 answers takes {HANGS_S:,.0f} s"
        print(f"\n{what}; {batches} batches of {BATCH}, 3 seeds\n")
        print(
            "| engine | learner to sampler | batch | learner idle | longest wait, answers |", end=""
        )
        print(" spread, of chance | batches >= 95 % | lowest | staleness | dropped |")
        print("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|")
        for engine, name in ((OneByOne, "one by one"), (InGroups, "two groups")):
            for slack in (0.8, 1.0, 1.25, 1.6):
                for way in ("first", "ended", "patient", "index"):
                    runs = [Loop(engine, way, seed, hangs).run(batches, slack) for seed in range(3)]
                    cells = [
                        f"{100 * mean(one.idle for one in runs):.1f} %",
                        f"{max(one.longest_wait for one in runs):.1f}",
                        f"{mean(one.spread for one in runs):.2f}",
                        f"{100 * mean(one.over_95 for one in runs):.1f} %",
                        f"{100 * min(one.lowest for one in runs):.0f} %",
                        f"{mean(one.staleness for one in runs):.2f}",
                        f"{100 * mean(one.dropped for one in runs):.1f} %",
                    ]
                    print(f"| {name} | {slack:g} | {way} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
