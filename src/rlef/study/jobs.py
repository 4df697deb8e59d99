"""Parts of a study side by side: a process each, with its share of the cores.

A small model keeps one core busier than two: half of its time goes to steps that do not split.
"""

import ctypes
import gc
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from transformers.utils import logging

from rlef.sandbox import usable_cores
from rlef.study.arms import Part
from rlef.train.recipe import TrainConfig

TOO_MANY = 3
"""Failures in a row after which a study begins nothing more: they have one cause."""


class PartTask(NamedTuple):
    """A part with what it needs to run."""

    part: Part
    config: TrainConfig
    path: Path
    """Its run folder, which is there."""
    place: str
    """Among all, for the user."""
    first_policy: str | None = None
    """Folder of the policy whose answers a repair arm repairs."""

    @property
    def first(self) -> tuple[str, int] | None:
        """Arm and seed that must be done before."""
        repairs = self.part.arm.repairs
        return None if repairs is None else (repairs, self.part.seed)


RunTask = Callable[[PartTask, Callable[[str], None]], None]


class Failure(NamedTuple):
    """A part that could not be run, or was not tried."""

    part: Part
    reason: str


def run_tasks(
    tasks: Sequence[PartTask], run: RunTask, say: Callable[[str], None], jobs: int
) -> list[Failure]:
    """Runs all tasks, in their order where nothing has to wait.

    One that fails does not end the others; after ``TOO_MANY`` in a row no more are begun.

    Args:
        tasks: What to run.
        run: Runs one; a function of a module, as is ``say``.
        say: Receives lines for the user.
        jobs: Tasks at once; 1: in this process.

    Returns:
        What failed, and what was not tried because of that.

    Raises:
        RuntimeError: A process was killed.
    """
    if jobs == 1:
        return _run_all(tasks, lambda task: _done(_attempt(run, task, say)), jobs)
    context = multiprocessing.get_context("spawn")
    threads = max(1, usable_cores() // jobs)
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(threads,)) as pool:

        def submit(task: PartTask) -> Future[str | None]:
            with _interrupts_later():  # the call may begin a process
                return pool.submit(_attempt, run, task, say)

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
    tasks: Sequence[PartTask], submit: Callable[[PartTask], Future[str | None]], jobs: int
) -> list[Failure]:
    waiting = list(tasks)
    undone = {(task.part.arm.name, task.part.seed) for task in tasks}
    running: dict[Future[str | None], PartTask] = {}
    failures: list[Failure] = []
    in_a_row = 0
    while True:
        ready = [task for task in waiting if task.first not in undone]
        if in_a_row < TOO_MANY:
            for task in ready[: jobs - len(running)]:
                waiting.remove(task)
                running[submit(task)] = task
        if not running:
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            part, reason = running.pop(future).part, future.result()
            if reason is None:
                in_a_row = 0
                undone.remove((part.arm.name, part.seed))
            else:
                in_a_row += 1
                failures.append(Failure(part, reason))
    for task in waiting:
        is_blocked = task.first in undone
        why = f"needs {task.part.arm.repairs}" if is_blocked else "too many others failed"
        failures.append(Failure(task.part, f"not tried, {why}"))
    return failures


def _attempt(run: RunTask, task: PartTask, say: Callable[[str], None]) -> str | None:
    """Runs a task; returns why it failed, as a line, or ``None``."""
    reason = None
    try:
        run(task, say)
    except Exception as error:
        if os.environ.get("RLEF_TRACEBACK") == "1":
            traceback.print_exc()
        text = " ".join(str(error).split())
        is_plain = isinstance(error, ValueError | OSError | RuntimeError | ArithmeticError) and text
        reason = text if is_plain else f"{type(error).__name__}: {text}"
    gc.collect()  # a failed task's models are in cycles with its traceback
    torch.cuda.empty_cache()
    _trim_heap()
    return reason


def _trim_heap() -> None:
    """Gives what is free back to the system: glibc keeps it, some gigabytes after many parts."""
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _done(reason: str | None) -> Future[str | None]:
    future: Future[str | None] = Future()
    future.set_result(reason)
    return future


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end; processes begun meanwhile never see Ctrl-C."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _begin(threads: int) -> None:
    """Prepares a process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    torch.set_num_threads(threads)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
