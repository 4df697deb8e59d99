"""Jobs in the judge: which of their tests are still to be run, and who works on them.

A worker takes a job of its own. Where none waits it helps with the tests of another's, so that no
core stands idle while a long list of tests, or the last program of many, is judged.
"""

import threading
from collections import deque

from rlef.sandbox.types import JudgeJob, JudgeReport, SandboxError, TestReport, Verdict
from rlef.sandbox.verdicts import summed


class Task:
    """A job and what is known of it. For use by several workers at once.

    Attributes:
        number: The caller's name of the job.
        job: The job.
        shared: Whether others may help, or might.
    """

    def __init__(self, number: int, job: JudgeJob) -> None:
        self.number = number
        self.job = job
        self.shared = False
        self._lock = threading.Lock()
        self._reports: list[TestReport | None] = [None] * len(job.tests)
        self._missing = len(job.tests)
        self._next = 0
        self._answer: JudgeReport | SandboxError | None = None
        self._claimed = False

    @property
    def left(self) -> int:
        """How many tests nobody has taken."""
        return 0 if self._answer is not None else len(self._reports) - self._next

    def take(self) -> int | None:
        """The place of a test that the caller now runs; ``None``: there is none left."""
        with self._lock:
            if self.left == 0:
                return None
            self._next += 1
            return self._next - 1

    def put(self, place: int, report: TestReport) -> None:
        """Adds the report of a test."""
        with self._lock:
            if self._answer is not None:
                return
            self._reports[place] = report
            self._missing -= 1
            stop = self.job.stop_at_first_failure and report.verdict is not Verdict.AC
            if report.verdict is Verdict.CE and not stop:  # so it is on every test
                self._reports = [one or report for one in self._reports]
                self._missing = 0
            if stop or self._missing == 0:
                self._answer = summed([one for one in self._reports if one is not None])

    def end(self, answer: JudgeReport | SandboxError) -> None:
        """Answers the whole job."""
        with self._lock:
            if self._answer is None:
                self._answer = answer

    def claim(self) -> JudgeReport | SandboxError | None:
        """The answer, to the first who asks once there is one."""
        with self._lock:
            if self._answer is None or self._claimed:
                return None
            self._claimed = True
            return self._answer


class TaskQueue:
    """Tasks that wait for a worker, and those that a worker may help with."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Task] = deque()
        self._open: list[Task] = []
        self._closed = False

    def put(self, task: Task) -> None:
        """Adds a task."""
        with self._changed:
            self._waiting.append(task)
            self._changed.notify()

    def get(self) -> Task | None:
        """Waits for a task: the oldest that nobody has, else one to help with.

        Returns:
            ``None`` once the queue is closed.
        """
        with self._changed:
            while not self._closed:
                if self._waiting:
                    return self._waiting.popleft()
                self._open = [task for task in self._open if task.left]
                if self._open:
                    return max(self._open, key=lambda task: task.left)
                self._changed.wait()
            return None

    def share(self, task: Task) -> None:
        """Lets others help with a task, from the first call on."""
        if task.shared:
            return
        with self._changed:
            task.shared = True
            self._open.append(task)
            if not self._waiting:
                self._changed.notify_all()

    def withdraw(self, task: Task) -> None:
        """Lets no more help with a task."""
        with self._changed:
            self._open = [one for one in self._open if one is not task]

    def close(self) -> None:
        """Lets all who wait, and all who come, go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
