"""The judge's process: the only place that holds expected outputs while programs run.

Started by ``sandbox.py`` as ``python -c``; speaks over a socket of its own with the process that
started it, and ends when that process does. Its first message is ``(0, isolation)``; then a message
is a ``JobMessage``, the answer ``(number, ReportMessage)`` or ``(number, SandboxError)``.
"""

import os
import signal
import threading
from multiprocessing.connection import Connection, wait

from rlef.sandbox.build import CompilerMissing
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.jail import IsolationError, JailError
from rlef.sandbox.tasks import Task, TaskQueue
from rlef.sandbox.types import Isolation, JudgeJob, JudgeReport, SandboxError
from rlef.sandbox.verdicts import internal_error
from rlef.sandbox.wire import JobMessage, Receiver, ReportMessage, pack_report
from rlef.sandbox.worker import Worker, not_runnable


def main(fd: int, workers: int, packages: tuple[str, ...], unsafe: bool) -> None:
    """Judges what comes until the other side is gone.

    Args:
        fd: The socket.
        workers: Number of threads, each with jails of its own.
        packages: Folders that programs importing numpy see.
        unsafe: Run programs even where nothing keeps them in.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # for the caller, who then closes us
        signal.signal(number, signal.SIG_IGN)
    parent = os.pidfd_open(os.getppid())
    Judge(Connection(fd), workers, packages, unsafe).serve(parent)
    os._exit(0)


class Judge:
    """Reads jobs, spreads them over workers, answers as they finish."""

    def __init__(
        self, connection: Connection, workers: int, packages: tuple[str, ...], unsafe: bool
    ) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._tasks = TaskQueue()
        self._received = Receiver()
        self._refusal: Exception | None = None
        try:
            settings, isolation = choose_isolation(packages, unsafe)
        except (IsolationError, JailError) as error:
            self._refusal = error
            self._workers: list[Worker] = []
            self._send(0, SandboxError(str(error)))
        else:
            self._workers = [Worker(settings) for _ in range(workers)]
            self._send(0, isolation)
        self._threads = [threading.Thread(target=self._work, args=(w,)) for w in self._workers]
        for thread in self._threads:
            thread.start()

    def serve(self, parent: int) -> None:
        """Takes jobs until the other side says goodbye or is dead."""
        while self._connection in wait([self._connection, parent]):
            try:
                message: JobMessage = self._connection.recv()
                job = self._received.unpack(message)
            except Exception:  # the end, or half a message: the caller starts another judge
                break
            if self._refusal is not None:
                self._refuse(message.number, job, self._refusal)
                break  # the next judge may have more luck
            self._tasks.put(Task(message.number, job))
        self._tasks.close()
        for worker in self._workers:
            worker.stop()

    def _refuse(self, number: int, job: JudgeJob, reason: Exception) -> None:
        if isinstance(reason, IsolationError):
            self._send(number, SandboxError(str(reason)))
        else:
            self._send(number, pack_report(not_runnable(job, reason), job.tests))

    def _work(self, worker: Worker) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                worker.work_on(task, self._tasks)
            except (IsolationError, CompilerMissing) as error:
                task.end(SandboxError(str(error)))
            except Exception as error:  # a fault of ours must not stop the others
                task.end(internal_error(task.job, error))
            answer = task.claim()
            if isinstance(answer, JudgeReport):
                self._send(task.number, pack_report(answer, task.job.tests))
            elif answer is not None:
                self._send(task.number, answer)
        worker.close()

    def _send(self, number: int, answer: ReportMessage | SandboxError | Isolation) -> None:
        with self._sending:
            try:
                self._connection.send((number, answer))
            except OSError:  # the other side is gone: serve() sees it too
                return
