"""Ray itself: reached or started, and its machines' resources set apart for a run."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rlef.config import ConfigError
from rlef.distributed.reach import AUTH_MODE, auth_mode, check_cluster
from rlef.distributed.settings import ALLOWED, ClusterSettings

_ROLLOUTS, _JUDGES, _LEARNERS = "rollout actors", "judge actors", "learner ranks"
_STARTS = 3
_TOO_SLOW = "timed out during startup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What each process of a kind asks of its machine.

    Attributes:
        rollout: cores and GPUs of a rollout actor.
        judge: of a judge actor.
        learner: of a learner rank.
    """

    rollout: Mapping[str, float]
    judge: Mapping[str, float]
    learner: Mapping[str, float]

    def total(self, settings: ClusterSettings) -> dict[str, float]:
        """Returns what a cluster must have in all."""
        counts = (
            (self.rollout, settings.rollout_actors),
            (self.judge, settings.judge_actors),
            (self.learner, settings.learner_ranks),
        )
        names = sorted({name for needs, _ in counts for name in needs})
        return {name: sum(needs.get(name, 0) * n for needs, n in counts) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A Ray that is reached, with room for all actors.

    Attributes:
        needs: of each process.
        rollouts: the placement group of rollout actors, a bundle each.
        learners: of learner ranks.
        judges: of judge actors, if there are any.
    """

    needs: Needs
    rollouts: Any
    learners: Any
    judges: Any

    def rollout_actor(self, slot: int, kind: type) -> Any:
        """Makes a rollout actor; it waits until its bundle has a machine."""
        return self._actor(kind, self.needs.rollout, self.rollouts, slot, max_concurrency=8)

    def learner_actor(self, rank: int, kind: type) -> Any:
        """Makes the actor of a learner rank."""
        return self._actor(kind, self.needs.learner, self.learners, rank)

    def judge_actor(self, slot: int, kind: type, *words: Any) -> Any:
        """Makes a judge actor, which Ray makes anew where it dies: elsewhere, if it has to."""
        how = {"max_restarts": -1, "max_task_retries": 2, "max_concurrency": 16}
        return self._actor(kind, self.needs.judge, self.judges, slot, words, **how)

    def _actor(
        self,
        kind: type,
        needs: Mapping[str, float],
        group: Any,
        bundle: int,
        words: Sequence[Any] = (),
        **more: Any,
    ) -> Any:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)
        has = {"num_cpus": needs.get("CPU", 0), "num_gpus": needs.get("GPU", 0)}
        made: Any = ray.remote(kind).options(scheduling_strategy=where, **has, **more)
        return made.remote(*words)


@contextmanager
def open_session(settings: ClusterSettings, needs_of: Callable[[bool], Needs]) -> Iterator[Session]:
    """Reaches a Ray or starts one, and sets apart what the actors need.

    One that this process has reached before is used as it is.

    Args:
        settings: Which, and how many actors.
        needs_of: What each asks for, where the cluster has GPUs or has none.

    Raises:
        ConfigError: There is no such Ray, or it has too little.
    """
    ray = _import_ray(settings)
    with ExitStack() as stack:
        if not ray.is_initialized():
            stack.enter_context(auth_mode_kept())
            _init(ray, settings, needs_of)
            stack.callback(ray.shutdown)
        needs = needs_of("GPU" in ray.cluster_resources())
        _check_room(ray, settings, needs.total(settings))
        groups = _groups(settings, needs)
        for group in groups.values():
            stack.callback(_remove, ray, group)
        _wait_for(ray, groups, settings)
        yield Session(
            needs=needs,
            rollouts=groups[_ROLLOUTS],
            learners=groups[_LEARNERS],
            judges=groups.get(_JUDGES),
        )


def _remove(ray: Any, group: Any) -> None:
    with suppress(Exception):
        ray.util.remove_placement_group(group)


def _import_ray(settings: ClusterSettings) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # of calls that nobody waits for any more; whoever waits for one tells what it raised
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    check_cluster(settings)
    import ray

    return ray


def _settle_tokens(address: str) -> None:
    """Sends a token of Ray's to a Ray that asks for one, and to no other; see ``auth_mode``.

    By itself ``ray.init`` sends none to HOST:PORT, and to ``auto`` whatever it finds.
    """
    found: str | None = address
    if address == "auto":
        found = None
        with suppress(Exception):  # no public word says which one it would take
            from ray._private.services import canonicalize_bootstrap_address_or_die

            found = canonicalize_bootstrap_address_or_die("auto")
    mode = auth_mode(found) if found else None
    if mode is not None:
        _set_auth_mode(mode)


@contextmanager
def auth_mode_kept() -> Iterator[None]:
    """Keeps the user's word on tokens: Ray writes over it too, where it starts one here."""
    before = os.environ.get(AUTH_MODE)
    try:
        yield
    finally:
        _set_auth_mode(before)


def _set_auth_mode(mode: str | None) -> None:
    if mode is None:
        os.environ.pop(AUTH_MODE, None)
    else:
        os.environ[AUTH_MODE] = mode
    with suppress(Exception):  # it was read when ray was imported
        from ray import _raylet

        raylet: Any = _raylet
        raylet.Config.initialize("")


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Keeps the handler of SIGTERM, in place of which Ray prints a stack and ends the process."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _init(ray: Any, settings: ClusterSettings, needs_of: Callable[[bool], Needs]) -> None:
    address = str(settings.address)
    words: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        cores = max(os.cpu_count() or 1, int(needs_of(False).total(settings)["CPU"]))
        words |= {"num_cpus": cores, "include_dashboard": False}
    else:
        _settle_tokens(address)
    _quieten()
    try:
        start(ray, address=address, **words)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError, Exception
        first = " ".join(str(error).split())[:160]
        raise ConfigError(f"cluster.address is {address!r}: {first}; {ALLOWED}") from None


def start(ray: Any, **words: Any) -> None:
    """Calls ``ray.init``; again where a busy machine was too slow for the 30 s that it waits.

    Raises:
        Exception: What Ray raises; it is shut down.
    """
    for left in reversed(range(_STARTS)):
        try:
            with sigterm_kept():
                ray.init(**words)
            return
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            if not left or _TOO_SLOW not in str(error):
                raise


def _quieten() -> None:
    """Lets Ray print nothing of dead processes: those are told of in one line. No switch does."""
    with suppress(Exception):
        from ray._private import worker

        worker.print_to_stdstream = lambda *_, **__: None


def _check_room(ray: Any, settings: ClusterSettings, total: Mapping[str, float]) -> None:
    has = ray.cluster_resources()
    for name, wanted in total.items():
        if wanted > has.get(name, 0):
            word = {"CPU": "cores"}.get(name, name + "s")
            raise ConfigError(
                f"the cluster has {has.get(name, 0):g} {word}, but {_asked(settings)} need "
                f"{wanted:g}; allowed: fewer of them, or more machines"
            )


def _wait_for(ray: Any, groups: Mapping[str, Any], settings: ClusterSettings) -> None:
    for words, group in groups.items():
        if not group.wait(timeout_seconds=min(30.0, settings.timeout_s)):
            raise ConfigError(
                f"the cluster has no machines with room for the {words} ({_asked(settings)}): "
                f"free are {_free(ray)}; allowed: fewer of them, or more machines"
            )


def _asked(settings: ClusterSettings) -> str:
    return (
        f"{settings.rollout_actors} rollout actors, {settings.judge_actors} judge actors and "
        f"{settings.learner_ranks} learner ranks"
    )


def _free(ray: Any) -> str:
    free = ray.available_resources()
    return f"{free.get('CPU', 0):g} cores and {free.get('GPU', 0):g} GPUs"


def _groups(settings: ClusterSettings, needs: Needs) -> dict[str, Any]:
    """The placement groups by whom they are for: one for two, where they share GPUs."""
    if settings.colocate:
        names = {*needs.rollout, *needs.learner}
        both = {name: needs.rollout.get(name, 0) + needs.learner.get(name, 0) for name in names}
        found = dict.fromkeys(
            (_ROLLOUTS, _LEARNERS), _group([both] * settings.learner_ranks, "PACK")
        )
    else:
        found = {
            _ROLLOUTS: _group([needs.rollout] * settings.rollout_actors, "SPREAD"),
            _LEARNERS: _group([needs.learner] * settings.learner_ranks, "PACK"),
        }
    if settings.judge_actors:
        found[_JUDGES] = _group([needs.judge] * settings.judge_actors, "SPREAD")
    return found


def _group(bundles: Sequence[Mapping[str, float]], strategy: str) -> Any:
    from ray.util.placement_group import placement_group

    return placement_group([dict(bundle) for bundle in bundles], strategy=strategy)
