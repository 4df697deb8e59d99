"""How the checks run programs of a problem."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlef.environment.jobs import final_job
from rlef.environment.jobs import limits_of as all_limits_of
from rlef.problems import Problem
from rlef.sandbox import JudgePool, JudgeReport, Limits

DEFAULT_LIMITS = Limits()
"""What holds where a problem names no limit, as in ``rlef eval``."""
_MORE_CPU, _MOST_CPU_S = 10, 60.0
_MORE_MEMORY, _MOST_MEMORY_MB = 4, 8192


@dataclass(frozen=True, slots=True)
class Program:
    """A program that stands with a problem."""

    field: str
    index: int
    language: str
    source: str

    @property
    def label(self) -> str:
        """Such as ``solutions[0]``."""
        return f"{self.field}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Judge:
    """Runs programs of problems.

    Args:
        sandbox: Where they run.
        programs: How many of each list of programs are run.
        languages: Those that this machine can run.
    """

    sandbox: JudgePool
    programs: int
    languages: frozenset[str]

    def references(self, problem: Problem) -> list[Program]:
        """The reference programs that are run."""
        return self._able(problem, "solutions", "cpp_solutions")

    def wrong(self, problem: Problem) -> list[Program]:
        """The programs that are run and must fail."""
        return self._able(problem, "incorrect_solutions", "incorrect_cpp_solutions")

    def not_run(self, problem: Problem) -> tuple[str, ...]:
        """Languages of the problem's programs that this machine cannot run."""
        names = ("solutions", "cpp_solutions", "incorrect_solutions", "incorrect_cpp_solutions")
        found = {p.language for p in _programs(problem, names, self.programs)}
        return tuple(sorted(found - self.languages))

    def run(
        self, problem: Problem, programs: Sequence[Program], *, to_end: bool = False
    ) -> list[JudgeReport]:
        """Judges programs on all tests of a problem, with its checker and limits.

        Args:
            problem: At least one test.
            programs: The programs.
            to_end: Go on after the first test that fails.

        Raises:
            ValueError: The problem cannot be judged.
            SandboxError: This machine cannot run programs.
        """
        jobs = [
            replace(
                final_job(problem, program.source, DEFAULT_LIMITS),
                language=program.language,
                stop_at_first_failure=not to_end,
            )
            for program in programs
        ]
        return self.sandbox.judge_many(jobs)

    def raised(self, problem: Problem) -> Problem:
        """The problem with limits so high that only a broken program passes them."""
        cpu_s, memory_mb = limits_of(problem)
        return replace(
            problem,
            cpu_s=max(cpu_s, min(_MORE_CPU * cpu_s, _MOST_CPU_S)),
            memory_mb=max(memory_mb, min(_MORE_MEMORY * memory_mb, _MOST_MEMORY_MB)),
        )

    def _able(self, problem: Problem, *names: str) -> list[Program]:
        found = _programs(problem, names, self.programs)
        return [program for program in found if program.language in self.languages]


def limits_of(problem: Problem) -> tuple[float, int]:
    """CPU seconds and memory in MiB that a problem is judged with."""
    limits = all_limits_of(problem, DEFAULT_LIMITS)
    return limits.cpu_s, limits.memory_mb


def _programs(problem: Problem, names: Sequence[str], most: int) -> list[Program]:
    """The first programs of each list; C++ ones only where a program prints."""
    found = []
    for name in names:
        language = "cpp" if "cpp" in name else problem.language
        if language == "cpp" and problem.mode == "function":
            continue
        sources: tuple[str, ...] = getattr(problem, name)[:most]
        found += [Program(name, i, language, source) for i, source in enumerate(sources)]
    return found
