"""Parts of a study side by side: a process each, with its share of the cores.

A small model keeps one core busier than two: half of its time goes to steps that do not split.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from transformers.utils import logging

from rlef.study.arms import Part
from rlef.train.recipe import TrainConfig


class PartTask(NamedTuple):
    """A part with what it needs to run."""

    part: Part
    config: TrainConfig
    path: Path
    """Its run folder, which is there."""
    place: str
    """Among all, for the user."""

    @property
    def first(self) -> tuple[str, int] | None:
        """Arm and seed that must be done before."""
        repairs = self.part.arm.repairs
        return None if repairs is None else (repairs, self.part.seed)


RunTask = Callable[[PartTask, Callable[[str], None]], None]


class Failure(NamedTuple):
    """A part that could not be run, or that waited for one that could not."""

    part: Part
    reason: str


def run_tasks(
    tasks: Sequence[PartTask], run: RunTask, say: Callable[[str], None], jobs: int
) -> list[Failure]:
    """Runs all tasks, in their order where nothing has to wait.

    Args:
        tasks: What to run.
        run: Runs one; a function of a module, as is ``say``.
        say: Receives lines for the user.
        jobs: Tasks at once; 1: in this process.

    Returns:
        What failed after another task had succeeded.

    Raises:
        RuntimeError: A process was killed.
        Exception: What a task raises before any has succeeded; the others are stopped then.
    """
    if jobs == 1:
        return _run_all(tasks, lambda task: _run_here(run, task, say), jobs)
    context = multiprocessing.get_context("spawn")
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(threads,)) as pool:

        def submit(task: PartTask) -> Future[None]:
            with _interrupts_later():  # the first call begins all processes
                return pool.submit(run, task, say)

        try:
            return _run_all(tasks, submit, jobs)
        except BaseException as error:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise RuntimeError(
                    "a process of the study was killed, perhaps for want of memory; the same "
                    "command goes on, with --jobs 1 in the least memory"
                ) from error
            raise


def _run_all(
    tasks: Sequence[PartTask], submit: Callable[[PartTask], Future[None]], jobs: int
) -> list[Failure]:
    waiting = list(tasks)
    undone = {(task.part.arm.name, task.part.seed) for task in tasks}
    running: dict[Future[None], PartTask] = {}
    failures: list[Failure] = []
    has_succeeded = False
    while True:
        ready = [task for task in waiting if task.first not in undone]
        for task in ready[: jobs - len(running)]:
            waiting.remove(task)
            running[submit(task)] = task
        if not running:
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            part = running.pop(future).part
            error = future.exception()
            if error is None:
                has_succeeded = True
                undone.remove((part.arm.name, part.seed))
            elif not has_succeeded or isinstance(error, BrokenProcessPool):
                raise error
            else:
                failures.append(Failure(part, " ".join(str(error).split())))
    blocked = [Failure(task.part, f"needs {task.part.arm.repairs}") for task in waiting]
    return failures + blocked


def _run_here(run: RunTask, task: PartTask, say: Callable[[str], None]) -> Future[None]:
    future: Future[None] = Future()
    try:
        run(task, say)
        future.set_result(None)
    except Exception as error:
        future.set_exception(error)
    return future


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C waits until the end; processes begun meanwhile never see it."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _begin(threads: int) -> None:
    """Prepares a process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    torch.set_num_threads(threads)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
