"""rlef's jail as a sandbox of inspect_ai, named ``rlef``. Page: docs/integrations/inspect.md."""

from pathlib import PurePosixPath
from typing import Any

from inspect_ai.util import ExecResult, SandboxEnvironment, SandboxUnavailableError, sandboxenv

from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Verdict
from rlef.serve import shared_judge

SECONDS = 10.0
"""CPU seconds of a command that names no timeout."""


@sandboxenv(name="rlef")
class Jail(SandboxEnvironment):
    """Runs ``python FILE``, ``-c CODE`` and ``-`` in a jail; a program sees no file but itself."""

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[PurePosixPath, bytes] = {}

    @classmethod
    async def sample_init(cls, *_: Any) -> dict[str, SandboxEnvironment]:
        """One place for files a sample."""
        return {"default": cls()}

    @classmethod
    async def sample_cleanup(cls, *_: Any) -> None:
        """Nothing is left behind."""

    async def exec(
        self, cmd: list[str], input: str | bytes | None = None, **words: Any
    ) -> ExecResult[str]:
        """Runs one program; ``cwd``, ``env`` and ``user`` do not matter to it.

        Raises:
            TimeoutError: It took longer than ``timeout`` CPU seconds.
            SandboxUnavailableError: The judge could not do its work.
        """
        given = input.decode() if isinstance(input, bytes) else input or ""
        match cmd:
            case ["python" | "python3", "-c", source]:
                pass
            case ["python" | "python3", "-"] | ["bash", "--login", "-c", "python3 -"]:
                source, given = given, ""  # so inspect's own tool python() says it
            case ["python" | "python3", str(file)]:
                source = await self.read_file(file)
            case _:
                allowed = "allowed: python FILE, python -c CODE, python - < CODE"
                return ExecResult(False, 127, "", f"{' '.join(cmd)}: {allowed}")
        limits = Limits(cpu_s=float(words.get("timeout") or SECONDS))
        job = JudgeJob(source=source, tests=(Test(given, ""),), limits=limits, checker="any")
        [report] = (await shared_judge()(job)).tests
        if report.verdict is Verdict.TLE:
            raise TimeoutError(report.message)
        if report.verdict is Verdict.IE:
            raise SandboxUnavailableError(report.message)
        ran = report.verdict is Verdict.AC
        status = 0 if ran else report.exit_status or 1
        error = report.stderr or ("" if ran else report.message)
        return ExecResult(ran, status, report.stdout, error)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Keeps a file."""
        data = contents.encode() if isinstance(contents, str) else contents
        self._files[PurePosixPath("/", file)] = data

    async def read_file(self, file: str, text: bool = True) -> Any:
        """Returns a file that was written.

        Raises:
            FileNotFoundError: It was not.
        """
        if (found := self._files.get(PurePosixPath("/", file))) is None:
            raise FileNotFoundError(file)
        return found.decode() if text else found
