"""What an evaluation gives to others: a table beside the paper's, and samples for other scorers."""

import ast
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rlef.environment.types import EpisodeRecord, StopReason
from rlef.evaluation.compare import Comparison
from rlef.evaluation.paper import PaperRow, paper_data_sets, paper_rows
from rlef.evaluation.specs import Measured
from rlef.problems import Problem
from rlef.problems.programs import WholeProgram, whole_program
from rlef.problems.syntax import parse_code
from rlef.text import markdown_table

_HEADINGS = ("metric", "model", "data", "turns", "solved, %", "95 %, samples", "95 %, problems")
_NOTE = (
    "Intervals: of other samples of these problems (the paper's bootstrap), and of other problems "
    "of this kind."
)
_NOTE_PAPER = "Rows in italics: Gehring et al., arXiv 2410.02089v2."


def summary_markdown(
    results: Mapping[str, Measured], *, model: str, data: str, turn_limit: int
) -> str:
    """A Markdown table of metrics with their intervals, beside the paper's where it has them.

    Args:
        results: Name of a metric to what was measured, in the order of the table.
        model: Name of the model.
        data: Specification of the problems; decides which of the paper's rows stand beside, see
            ``paper_data_sets``.
        turn_limit: The limit of the run.

    Returns:
        The table, and what its columns mean, with a newline at the end.
    """
    rows: list[Sequence[str]] = []
    has_paper = False
    for metric, measured in results.items():
        rows.append(_our_cells(metric, measured, model, data, turn_limit))
        paper = [row for name in paper_data_sets(data) for row in paper_rows(metric, name)]
        rows += map(_paper_cells, paper)
        has_paper = has_paper or bool(paper)
    notes = [_problems_note(results), _NOTE, *([_NOTE_PAPER] if has_paper else [])]
    return f"{markdown_table(_HEADINGS, rows)}\n\n{' '.join(notes)}\n"


def comparison_markdown(comparison: Comparison) -> str:
    """The table of a comparison as Markdown, with its notes and a newline at the end."""
    table = markdown_table(comparison.headings(), comparison.rows())
    return f"{table}\n\n{'; '.join(comparison.notes())}.\n"


def samples_jsonl(
    records: Iterable[EpisodeRecord], problems: Iterable[Problem] = ()
) -> Iterator[str]:
    """One sample per episode, in the format of EvalPlus and human-eval.

    A line holds ``task_id``, the problem's name, and the last program as it was judged, with the
    problem's prelude and the starter code that it continues, twice: as ``solution``, a whole
    program, which EvalPlus takes, and as ``completion``, which human-eval appends to the problem's
    prompt. There the prompt's unfinished function, whose docstring is its body, is defined first
    and replaced by the program's. An episode whose last answer had no program has
    an empty one, which fails as it should. Infrastructure errors are left out, as in our own
    metrics. Episodes keep their order, so several of one problem are its samples.

    Args:
        records: Episodes.
        problems: What they are of. A program of another problem is written as the model gave it.

    Yields:
        Lines of JSON, ASCII only, with their newline.
    """
    known = {problem.name: problem for problem in problems}
    for record in records:
        if record.stop is not StopReason.INFRA_ERROR:
            program = (record.turns[-1].program if record.turns else None) or ""
            if program and record.problem in known:
                program = _as_one_text(whole_program(known[record.problem], program))
            sample = {
                "task_id": record.problem,
                "solution": program,
                "completion": f"\n{_without_futures(program)}",
            }
            yield json.dumps(sample) + "\n"


def _as_one_text(whole: WholeProgram) -> str:
    """A prelude and a program, which are judged one after the other, as one text."""
    if not whole.prelude:
        return whole.source
    lines, futures = whole.source.split("\n"), _future_imports(whole.source)
    first = futures[-1].end_lineno or 0 if futures else 0  # they must stand before all else
    return "\n".join((*lines[:first], whole.prelude.rstrip("\n"), "", *lines[first:]))


def _without_futures(program: str) -> str:
    """A program that may stand behind another, where imports from ``__future__`` are errors."""
    lines = program.split("\n")
    for node in _future_imports(program):
        for i in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[i] = ""
    return "\n".join(lines)


def _future_imports(program: str) -> list[ast.ImportFrom]:
    if "__future__" not in program:
        return []
    try:
        body = parse_code(program).body
    except ValueError:
        return []
    return [n for n in body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]


def _our_cells(
    metric: str, measured: Measured, model: str, data: str, turn_limit: int
) -> Sequence[str]:
    return (
        metric,
        model,
        data,
        str(turn_limit),
        _percent(measured.estimate),
        _interval(measured.low, measured.high),
        _interval(measured.low_problems, measured.high_problems),
    )


def _paper_cells(row: PaperRow) -> Sequence[str]:
    model = f"{row.model}, {row.method}" if row.method else row.model
    turns = "-" if row.turns is None else str(row.turns)
    return (
        row.metric,
        f"*{model}*",
        f"*{row.data}*",
        turns,
        f"*{row.percent:.1f}*",
        "",
        "",
    )


def _problems_note(results: Mapping[str, Measured]) -> str:
    problems = {measured.problems for measured in results.values()}
    left_out = max((measured.left_out for measured in results.values()), default=0)
    counts = " to ".join(map(str, sorted({min(problems, default=0), max(problems, default=0)})))
    missing = f"; up to {left_out} left out after infrastructure errors" if left_out else ""
    return f"{counts} problem{'' if counts == '1' else 's'}{missing}."


def _percent(rate: float) -> str:
    return "-" if math.isnan(rate) else f"{100 * rate:.1f}"


def _interval(low: float, high: float) -> str:
    return "-" if math.isnan(low) else f"{_percent(low)} to {_percent(high)}"
