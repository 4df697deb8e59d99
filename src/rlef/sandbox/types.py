"""Verdicts, limits and reports of the judge."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from rlef.problems import Mode, Test


class Verdict(StrEnum):
    """Outcome of one test, or of a whole program."""

    AC = "AC"
    """accepted"""
    WA = "WA"
    """wrong answer"""
    RE = "RE"
    """run-time error: exception, signal or non-zero exit status"""
    TLE = "TLE"
    """time limit exceeded"""
    MLE = "MLE"
    """memory limit exceeded"""
    OLE = "OLE"
    """output limit exceeded"""
    CE = "CE"
    """does not compile"""
    IE = "IE"
    """infrastructure error: says nothing about the program"""


class SandboxError(RuntimeError):
    """This machine cannot run programs safely, or lacks a compiler; one line says what and why."""


def usable_cores() -> int:
    """Number of cores that this process may use: as many jails keep them busy."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What keeps programs in on this machine."""

    kind: str
    """``namespaces``, ``landlock`` (files only) or ``none``."""
    seccomp: bool
    """Whether a system call filter is there."""
    hot_path: str
    """``C``, or ``Python`` where the package was built without a compiler."""
    warning: str = ""
    """What is missing, in one line; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one test. The defaults are RLEF's (section A.2): 10 s, 1 GB."""

    cpu_s: float = 10.0
    memory_mb: int = 1024
    output_kb: int = 1024
    idle_s: float | None = None
    """Seconds that a program sleeps or waits; ``None``: ``cpu_s`` + 2 (with ``wall_s``: that)."""
    wall_s: float | None = None
    """Wall-clock seconds; ``None``: 10 x ``cpu_s`` + 10, as a last resort. A program that passes
    them for lack of a core is IE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """What one test said."""

    __test__ = False  # not a pytest class

    verdict: Verdict
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0
    """Peak resident memory."""
    stdout: str = ""
    """What the program printed (function mode: JSON of what it returned), capped."""
    stderr: str = ""
    message: str = ""
    """One or a few lines a reader can learn from: first difference, traceback, passed limit."""
    exit_status: int | None = None
    """Of the process; ``None``: a signal ended it, or nothing ran."""
    signal: int | None = None
    """Number of the signal that ended the process, 9 too where the judge ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeReport:
    """What all tests said. ``tests`` stops early where judging stopped at the first failure."""

    verdict: Verdict
    """AC if every test is AC, IE if any test is IE, else that of the first failing test."""
    tests: tuple[TestReport, ...]

    @property
    def passed(self) -> bool:
        """Whether the program passed every test."""
        return self.verdict is Verdict.AC


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeJob:
    """One program and the tests to run it on: what ``Sandbox.judge_many`` takes."""

    source: str
    tests: tuple[Test, ...]
    prelude: str = ""
    """Python code that runs before the program, in its namespace; no line of it is counted."""
    language: str = "python"
    mode: Mode = "stdin"
    entry_point: str | None = None
    limits: Limits = field(default_factory=Limits)
    checker: str = "tokens"
    checker_source: str | None = None
    """C++ text of a checker program, with ``checker="testlib"``."""
    stop_at_first_failure: bool = False


class JudgePool(Protocol):
    """Whatever judges many programs at once: a ``Sandbox`` here, or judges elsewhere."""

    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        """Judges programs, see ``Sandbox.judge_many``."""
        ...
