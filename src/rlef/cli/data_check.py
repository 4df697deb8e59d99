"""``rlef data check``: what is wrong with problems, and a set without it."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlef.cli.common import (
    INTERRUPTED,
    JudgeUrl,
    check_judge_url,
    examples,
    json_text,
    print_json,
    print_rich,
    say,
    show,
)
from rlef.cli.files import check_new_files, new_file, write_new_file

if TYPE_CHECKING:
    from rlef.curation import Finding, ProblemCheck
    from rlef.problems import Problem

EXAMPLES = examples(
    ("what is wrong with a set", "rlef data check codecontests:valid.jsonl"),
    (
        "a repaired set without problems of another, and everything as JSON",
        "rlef data check jsonl:mine.jsonl --against mbpp:m.jsonl --fix clean.jsonl --out all.json",
    ),
)
_LINES = 30
_SAY_EVERY_S = 10.0


@dataclass(slots=True)
class _Work:
    """What has been done so far, kept through Ctrl-C."""

    spec: str
    against: str | None
    problems: "list[Problem]"
    others: "list[Problem]"
    duplicates: "list[tuple[Finding, ...]]" = field(default_factory=list)
    checks: "dict[int, ProblemCheck]" = field(default_factory=dict)
    fix: dict[str, Any] | None = None
    left: "list[Finding]" = field(default_factory=list)
    """Findings on the repaired set."""

    @property
    def complete(self) -> bool:
        return len(self.checks) == len(self.problems)

    def findings(self) -> "list[Finding]":
        """All of them, in the order of the problems."""
        found = (
            (*self.checks[i].findings, *self.duplicates[i])
            for i in range(len(self.duplicates))
            if i in self.checks
        )
        return [finding for findings in found for finding in findings]


def check(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="Problems, such as jsonl:mine.jsonl.")
    ],
    against: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Problems that must not be in it.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only the first so many problems. Default: all."),
    ] = None,
    programs: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Run so many of each list of programs of a problem."),
    ] = 3,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Programs that run at once; by default one a core."),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.jsonl", help="Write a repaired set, a new file.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write JSON with everything, a new file.", show_default=False
        ),
    ] = None,
    judge_url: JudgeUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print that JSON.")] = False,
) -> None:
    """Check problems; exit status 1 for errors (with --fix: for those left, or no problem left)."""
    from rlef.problems import load_problems
    from rlef.sandbox import SandboxError, usable_cores

    if fix is not None and fix.suffix != ".jsonl":
        raise typer.BadParameter(f"{fix}: allowed: a name that ends with .jsonl")
    check_judge_url(judge_url)
    check_new_files(fix, out)
    problems = load_problems(spec)[:limit]
    work = _Work(spec, against, problems, load_problems(against) if against else [])
    stopped: KeyboardInterrupt | SandboxError | None = None
    try:
        _run(work, programs, workers or usable_cores(), fix, judge_url)
    except (KeyboardInterrupt, SandboxError) as error:  # the judge is gone: what is done counts
        if isinstance(error, SandboxError) and not work.checks:
            raise
        stopped = error
        what = "stopped" if isinstance(error, SandboxError) else "interrupted"
        say(f"{what}: {_count(len(work.checks), 'problem')} done")
        if fix is not None and work.fix is None:
            say(f"{fix} is not written")
    result = _as_json(work)
    if out is not None:
        write_new_file(out, json_text(result) + "\n")
    if str(out) == "/dev/stdout":
        pass  # it has the JSON, and nothing else
    elif as_json:
        print_json(result)
    else:
        _print(work)
    if isinstance(stopped, SandboxError):
        raise stopped
    if stopped is not None:
        raise typer.Exit(INTERRUPTED)
    findings = work.findings() if work.fix is None else work.left
    is_empty = work.fix is not None and not work.fix["kept"]
    has_errors = any(finding.kind.severity == "error" for finding in findings)
    raise typer.Exit(1 if is_empty or has_errors else 0)


def _run(work: _Work, programs: int, workers: int, fix: Path | None, judge_url: str | None) -> None:
    from rlef.curation import check_problems, find_duplicates

    work.duplicates = find_duplicates(work.problems, work.others)
    said = started = time.monotonic()
    checks = check_problems(
        work.problems,
        programs=programs,
        workers=workers,
        repair=fix is not None,
        judge_url=judge_url,
    )
    with closing(checks):
        for place, found in checks:
            work.checks[place] = found
            if time.monotonic() - said >= _SAY_EVERY_S:
                said = time.monotonic()
                _say(work, said - started)
    if fix is not None:
        _fix(work, fix)


def _say(work: _Work, seconds: float) -> None:
    done, total = len(work.checks), len(work.problems)
    bad = sum(1 for found in work.checks.values() if found.findings)
    left = round(seconds / done * (total - done))
    minutes, rest = divmod(left, 60)
    say(f"{done}/{total} problems, {bad} with findings, {minutes}:{rest:02} left")


def _fix(work: _Work, path: Path) -> None:
    from rlef.curation import without_duplicates
    from rlef.problems.jsonl import write_jsonl

    made = [work.checks[i].repaired for i in range(len(work.problems))]
    results = without_duplicates([one for one in made if one is not None], work.others)
    kept = [one.problem for one in results if one.problem is not None]
    changes = [change for one in results for change in one.changes]
    left = [finding for one in results for finding in one.left]
    fix = {
        "file": str(path) if kept else None,
        "kept": len(kept),
        "dropped": [p.name for p, r in zip(work.problems, results, strict=True) if not r.problem],
        "changes": [
            {"problem": change.problem, "kind": change.kind.value, "what": change.what}
            for change in changes
        ],
        "left": [_finding_json(finding) for finding in left],
    }
    if kept:  # a file without a problem cannot be loaded
        with new_file(path) as draft:
            write_jsonl(kept, draft)
    work.fix, work.left = fix, left


# --- JSON ---


def _as_json(work: _Work) -> dict[str, object]:
    findings = work.findings()
    return {
        "spec": work.spec,
        "against": work.against,
        "complete": work.complete,
        "problems": len(work.checks),
        "errors": sum(f.kind.severity == "error" for f in findings),
        "warnings": sum(f.kind.severity == "warning" for f in findings),
        "counts": dict(Counter(f.kind.value for f in findings)),
        "notes": _notes(work),
        "findings": [_finding_json(finding) for finding in findings],
        "programs": [
            {
                "problem": found.problem.name,
                "program": run.program,
                "verdict": run.verdict.value,
                "test": run.test,
                "message": run.message,
                "cpu_s": run.cpu_s,
                "memory_mb": run.memory_mb,
            }
            for _, found in sorted(work.checks.items())
            for run in found.runs
        ],
        "fix": work.fix,
    }


def _finding_json(finding: "Finding") -> dict[str, object]:
    from dataclasses import asdict

    value = asdict(finding)
    return {
        "problem": value.pop("problem"),
        "kind": value.pop("kind").value,
        "severity": finding.kind.severity.value,
        **value,
    }


# --- words ---


def _notes(work: _Work) -> list[str]:
    """What was not looked at."""
    from rlef.curation.statements import has_minhash
    from rlef.extras import how_to_install

    notes = []
    languages = Counter(name for found in work.checks.values() for name in found.not_run)
    for language, count in sorted(languages.items()):
        notes.append(
            f"no compiler for {language}: its programs of {_count(count, 'problem')} were not run"
        )
    if not has_minhash():
        notes.append(
            "nearly equal statements were not looked for: they need datasketch; install with: "
            + how_to_install("data")
        )
    return notes


def _print(work: _Work) -> None:
    findings = work.findings()
    if findings:
        print_rich(_summary(findings))
        show("")
        # errors first: those must not be cut off
        ordered = sorted(findings, key=lambda f: f.kind.severity == "warning")
        lines = [f"{f.problem}: {f.kind.value}: {f.message}" for f in ordered]
        _print_lines(lines, "findings")
        show("")
    for note in _notes(work):
        show(note)
    if work.fix is not None:
        _print_fix(work.fix)
    errors = sum(f.kind.severity == "error" for f in findings)
    concerned = len({finding.problem for finding in findings})
    runs = sum(len(found.runs) for found in work.checks.values())
    show(
        f"{_count(len(work.checks), 'problem')}, {_count(runs, 'program')} run: "
        f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')} "
        f"in {_count(concerned, 'problem')}"
    )


def _summary(findings: "Sequence[Finding]") -> object:
    from rich.table import Table
    from rich.text import Text

    from rlef.curation.types import MEANINGS

    counts = Counter(finding.kind for finding in findings)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("problems", justify="right", no_wrap=True)
    for heading in ("finding", "severity"):
        table.add_column(heading, no_wrap=True)
    table.add_column("meaning", overflow="fold")
    for kind, meaning in MEANINGS.items():
        if counts[kind]:
            style = "red" if kind.severity == "error" else "yellow"
            severity = Text(kind.severity.value, style=style)
            table.add_row(str(counts[kind]), kind.value, severity, meaning)
    return table


def _print_fix(fix: dict[str, Any]) -> None:
    _print_lines([f"{c['problem']}: {c['kind']}: {c['what']}" for c in fix["changes"]], "changes")
    if fix["changes"]:
        show("")
    where = fix["file"] or "nowhere: no problem is left"
    left = Counter(finding["kind"] for finding in fix["left"])
    rest = ", ".join(f"{count} {kind}" for kind, count in left.items()) or "nothing"
    show(f"kept {fix['kept']}, dropped {len(fix['dropped'])}, left to say: {rest}")
    show(f"written: {where}")


def _print_lines(lines: Sequence[str], name: str) -> None:
    for line in lines[:_LINES]:
        show(line)
    if len(lines) > _LINES:
        show(f"... and {len(lines) - _LINES} more {name}: see --json or --out")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
