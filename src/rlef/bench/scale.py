"""How rollouts, judging and the loop grow with rollout actors that take no cores."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from rlef.bench.replay import ReplayEngine, ReplayJudge, ReplayLearner, problems
from rlef.bench.rows import Row, machine_facts
from rlef.config import dump_config, load_config
from rlef.engines import SamplingParams, Weights
from rlef.engines.load import load_chat
from rlef.environment import ChatFormat, FeedbackOptions, Prompts
from rlef.learner.service import Learner
from rlef.rollout import EpisodeRequest, EpisodeSettings, LocalRollouts, Rollout, Rollouts
from rlef.rollout.service import RolloutTiming
from rlef.run import RunFolder
from rlef.sandbox import JudgePool, Limits, Sandbox
from rlef.train.controls import Controls
from rlef.train.loop import Trainer
from rlef.train.parts import Parts
from rlef.train.place import PAPER
from rlef.train.progress import Silent
from rlef.train.recipe import TrainConfig

ACTORS = (1, 2, 4, 8, 64, 256)
BUSY, IDLE, FLAT = 0.9, 0.6, 1.5
"""Of the learner's time that it works at least, side by side; at most, in turns; and by how much
the driver's time for a rollout may grow from 8 to 256 actors."""
_CONTEXT = 8192
_FASTEST = 32.0
"""Rollouts a second."""
_SMALLEST = 8
"""Rollouts of a batch at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What to measure with.

    Attributes:
        actors: Numbers of simulated rollout actors.
        slots: Episodes that each samples at once.
        episode_s: Seconds of sampling of an episode, on average; more where more than 32 rollouts
            a second would end, as these cores would be what is measured.
        batches: Measured, after one that warms up.
        on_ray: Rollout actors and learner are Ray's, else in this process.
        processes: That the actors are spread over on Ray.
        judge: Programs are run by the sandbox of each process, else verdicts are known.
        megabytes: Of the weights that are handed on after each batch.
        max_staleness: Where sampler and learner run side by side.
        slack: The learner's seconds of a batch to the engines': above 1 it is the slower side, so
            that it is its waits that count.
    """

    actors: tuple[int, ...] = ACTORS
    slots: int = 1
    episode_s: float = 4.0
    batches: int = 4
    on_ray: bool = False
    processes: int = 4
    judge: bool = False
    megabytes: int = 4
    max_staleness: int = 2
    slack: float = 1.25

    def batch(self, actors: int) -> int:
        """Rollouts of a batch: two for each place, so that sampling grows with the actors."""
        return max(_SMALLEST, 2 * self.slots * actors)

    def seconds(self, actors: int) -> float:
        """Seconds of an episode, see ``episode_s``."""
        return max(self.episode_s, self.slots * actors / _FASTEST)

    def sampling_s(self, actors: int) -> float:
        """Seconds of all engines for a batch, none of them idle."""
        return self.batch(actors) * self.seconds(actors) / (self.slots * actors)

    def update_s(self, actors: int) -> float:
        """Seconds of the learner for a batch."""
        return self.slack * self.sampling_s(actors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of so many actors.

    Attributes:
        actors: simulated.
        beside: whether sampler and learner ran side by side.
        rollouts_s, tests_s, tokens_s: rollouts, judged tests and sampled tokens a second.
        sync_s: seconds in which weights were handed on, for each batch.
        idle: share of the time that the learner waited.
        efficiency: of what it would be if the slower side never waited.
        driver_ms: milliseconds of a core that this process took for a rollout, without its episodes
            where they ran in it.
        episode_ms: the same of its episodes; NaN where they ran in other processes.
        staleness: mean, in batches.
    """

    actors: int
    beside: bool
    rollouts_s: float
    tests_s: float
    tokens_s: float
    sync_s: float
    idle: float
    efficiency: float
    driver_ms: float
    episode_ms: float
    staleness: float


class _Watched:
    """``Rollouts`` whose hand-overs of weights are timed."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self.sync_s = 0.0

    @property
    def timing(self) -> RolloutTiming:
        """See ``Rollouts``."""
        return self._rollouts.timing

    def submit(self, index: int, request: EpisodeRequest) -> None:
        """See ``Rollouts``."""
        self._rollouts.submit(index, request)

    def finished(self, timeout_s: float) -> list[tuple[int, Rollout]]:
        """See ``Rollouts``."""
        return self._rollouts.finished(timeout_s)

    def use(self, weights: Weights) -> float | None:
        """See ``Rollouts``."""
        started = time.perf_counter()
        gap = self._rollouts.use(weights)
        self.sync_s += time.perf_counter() - started
        return gap

    def sleep(self) -> None:
        """See ``Rollouts``."""
        self._rollouts.sleep()


def measure(setting: Setting) -> Iterator[Measured]:
    """Measures each number of actors, side by side with the learner and in turns."""
    for beside in (True, False):
        for actors in setting.actors:
            yield measure_one(setting, actors, beside=beside)


def measure_one(setting: Setting, actors: int, *, beside: bool) -> Measured:
    """Measures one number of actors, side by side with the learner or in turns."""
    # More than are measured: before the end fewer and fewer rollouts are under way.
    batch, batches = setting.batch(actors), setting.batches + 2 + setting.max_staleness
    words = [f"rollout.batch={batch}", f"learner.minibatch={batch}", f"updates={batches}"]
    words += [
        f"checkpoint_every={batches}",
        f"rollout.max_staleness={beside * setting.max_staleness}",
    ]
    words += ["rollout.max_context=8192", "eval.random_feedback=false"]
    config = load_config(TrainConfig, None, words)
    chat = load_chat("mini", config.model)
    episodes = EpisodeSettings(
        sampling=SamplingParams(max_new_tokens=1024),
        max_turns=config.rollout.turn_limit,
        max_context=_CONTEXT,
        prompts=Prompts.load("mini"),
        limits=Limits(cpu_s=2.0),
    )
    learner = partial(_learner, setting.update_s(actors), setting.megabytes)
    place = _on_ray if setting.on_ray else _here
    with (
        tempfile.TemporaryDirectory() as folder,
        place(setting, actors, chat, learner, episodes) as (rollouts, made),
    ):
        watched = _Watched(rollouts)
        run = RunFolder.create(Path(folder) / "run", dump_config(config))
        feedback = FeedbackOptions()
        some = problems(64)
        parts = Parts(
            config=config, run=run, display=Silent(), train_problems=some, valid_problems=[],
            test_problems=[], chat=chat,
            controls=Controls(training=feedback, training_pool=None, evaluation=feedback,
                              evaluation_pool=None),
            episodes=episodes, open_rollouts=_none, rollouts=watched, learner=made, parameters=0,
            variant=PAPER,
        )  # fmt: skip
        return _watch(setting, actors, Trainer(parts), watched, beside=beside)


def _watch(
    setting: Setting, actors: int, trainer: Trainer, watched: _Watched, *, beside: bool
) -> Measured:
    watched.use(trainer.learner.weights())
    trainer.train_on_one_batch()
    watched.sync_s = 0.0
    started, cores, of_episodes = time.perf_counter(), time.process_time(), _episode_cores()
    for _ in range(setting.batches):
        trainer.train_on_one_batch()
    wall_s = time.perf_counter() - started
    of_episodes = _episode_cores() - of_episodes
    driver = time.process_time() - cores - of_episodes
    lines = trainer.parts.run.read_metrics()[1:]
    taken = [trainer.ledger.batch(number + 1).rollouts for number in range(len(lines))]
    rollouts = [rollout for some in taken for rollout in some]
    worked = setting.batches * setting.update_s(actors)
    sampled = setting.batches * setting.sampling_s(actors)
    return Measured(
        actors=actors,
        beside=beside,
        rollouts_s=len(rollouts) / wall_s,
        tests_s=sum(map(_tests, rollouts)) / wall_s,
        tokens_s=sum(int((one.turn_ids >= 0).sum()) for one in rollouts) / wall_s,
        sync_s=watched.sync_s / len(lines),
        idle=1 - worked / wall_s,
        efficiency=max(worked, sampled) / wall_s,
        driver_ms=1e3 * driver / len(rollouts),
        episode_ms=float("nan") if setting.on_ray else 1e3 * of_episodes / len(rollouts),
        staleness=sum(line.get("staleness", 0.0) for line in lines) / len(lines),
    )


def _tests(rollout: Rollout) -> int:
    """Tests that were judged of an episode."""
    record = rollout.record
    public = sum(len(turn.public_verdicts) for turn in record.turns)
    return public + 8 * record.passed_public


def _episode_cores() -> float:
    """Core-seconds of the threads of this process in which episodes run."""
    total = 0.0
    for thread in threading.enumerate():
        if thread.name.startswith(("rlef-rollouts", "rlef-judging")) and thread.ident:
            total += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return total


# --- where they run -------------------------------------------------------------------------------

Place = AbstractContextManager[tuple[Rollouts, Learner]]


def _learner(update_s: float, megabytes: int) -> tuple[Learner, int]:
    return ReplayLearner(update_s, megabytes), 0


def _none(_: EpisodeSettings) -> AbstractContextManager[Rollouts]:
    raise NotImplementedError("a benchmark evaluates nothing")


@cache
def _mini_chat() -> ChatFormat:
    """One for all actors of a process."""
    return load_chat("mini")


def _engine(slots: int, episode_s: float) -> tuple[ReplayEngine, ChatFormat]:
    chat = _mini_chat()
    return ReplayEngine(chat, slots=slots, episode_s=episode_s), chat


def _judges(judge: bool) -> JudgePool:
    return Sandbox(workers=1) if judge else ReplayJudge()


@contextmanager
def _here(
    setting: Setting,
    actors: int,
    chat: ChatFormat,
    learner: Callable[[], tuple[Learner, int]],
    episodes: EpisodeSettings,
) -> Iterator[tuple[Rollouts, Learner]]:
    engine = ReplayEngine(chat, slots=setting.slots * actors, episode_s=setting.seconds(actors))
    judges = Sandbox() if setting.judge else ReplayJudge()
    try:
        with LocalRollouts(engine, chat, judges, episodes) as rollouts:
            yield rollouts, learner()[0]
    finally:
        if isinstance(judges, Sandbox):
            judges.close()


@contextmanager
def _on_ray(
    setting: Setting,
    actors: int,
    chat: ChatFormat,
    learner: Callable[[], tuple[Learner, int]],
    episodes: EpisodeSettings,
) -> Iterator[tuple[Rollouts, Learner]]:
    from rlef.distributed.hosts import crowded

    with crowded(
        (partial(_engine, setting.slots, setting.seconds(actors)), partial(_judges, setting.judge)),
        learner,
        episodes,
        actors=actors,
        processes=setting.processes,
        together=1,
        most=3 * setting.slots,
    ) as found:
        yield found


# --- what it says ---------------------------------------------------------------------------------


def rows(found: Sequence[Measured]) -> list[Row]:
    """Returns what the targets say to all that was measured."""
    made = []
    for one in found:
        busy = 1 - one.idle
        made.append(
            Row(
                name=f"learner busy, {one.actors} actors, "
                + ("side by side" if one.beside else "in turns"),
                value=100 * busy,
                unit="%",
                target=f"{100 * BUSY:g} or more" if one.beside else f"below {100 * IDLE:g}",
                met=busy >= BUSY if one.beside else busy < IDLE,
                note=f"{one.rollouts_s:.3g} rollouts/s, {one.tests_s:.3g} judged tests/s, "
                f"{one.tokens_s:,.0f} tokens/s; weights {one.sync_s:.2f} s; efficiency "
                f"{100 * one.efficiency:.0f} %; driver {one.driver_ms:.1f} ms a rollout",
            )
        )
    few, many = (
        next((one for one in found if one.beside and one.actors == actors), None)
        for actors in (8, 256)
    )
    if few is not None and many is not None:
        made.append(
            Row(
                name="driver's time for a rollout, 256 actors to 8",
                value=many.driver_ms / few.driver_ms,
                unit="times",
                target=f"{FLAT:g} or less",
                met=many.driver_ms <= FLAT * few.driver_ms,
                note=f"{few.driver_ms:.1f} and {many.driver_ms:.1f} ms of a core",
            )
        )
    return made


def facts(setting: Setting) -> dict[str, Any]:
    """What belongs beside the numbers."""
    return {**machine_facts(), **asdict(setting)}
