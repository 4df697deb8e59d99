"""``rlef rollouts``: what a model did in a run, as a file to fine-tune on or to look into."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from rlef.cli.common import examples, say, show
from rlef.cli.files import check_new_file, new_file

EXAMPLES = examples(
    ("dialogues that end well, to fine-tune on", "rlef rollouts runs/one sft.jsonl --solved"),
    (
        "their last answers alone learnt from, as in RLEF's supervised baseline",
        "rlef rollouts runs/one sft.parquet --solved --distinct --as prompt-completion",
    ),
    ("every episode of an evaluation", "rlef rollouts runs/eval-one all.parquet --as rollouts"),
)
_SUFFIXES = (".jsonl", ".parquet")


def rollouts(
    run_path: Annotated[Path, typer.Argument(metavar="RUN", help="A training or an evaluation.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file: .jsonl or .parquet.")],
    form: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="FORM",
            help="messages: a dialogue a row; prompt-completion: its last answer apart, the only "
            "one that is learnt from; rollouts: all that is known of an episode.",
        ),
    ] = "messages",
    name: Annotated[
        str | None,
        typer.Option(
            "--of",
            metavar="NAME",
            help="train, or an evaluation of the run, such as eval-after. Default: train; of "
            "rlef eval, eval.",
            show_default=False,
        ),
    ] = None,
    solved: Annotated[
        bool, typer.Option("--solved", help="Only those that pass all tests in the end.")
    ] = False,
    min_reward: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Only those with at least this sum of rewards.", show_default=False
        ),
    ] = None,
    last_turn: Annotated[
        bool, typer.Option("--last-turn", help="The problem and the last answer only.")
    ] = False,
    last_loss: Annotated[
        bool,
        typer.Option(
            "--last-loss",
            help='Each message says whether it is learnt from ("train"): the last answer only.',
        ),
    ] = False,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Of equal dialogues the first only.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="The problems, where they are not where they were.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the rollouts of a run: chat messages for fine-tuning, or all columns."""
    if file.suffix not in _SUFFIXES:
        raise typer.BadParameter(f"{file}: allowed: a name that ends with .jsonl or .parquet")
    of_messages = {"--last-turn": last_turn, "--data": data, "--last-loss": last_loss}
    for word, value in of_messages.items() if form != "messages" else ():
        if value and (form == "rollouts" or word == "--last-loss"):
            raise typer.BadParameter(f"{word} has no meaning with --as {form}; leave it out")

    from rlef.evaluation.dialogues import (
        FORMS,
        TRAINING,
        Choice,
        Counts,
        Openings,
        check_rollouts,
        chosen_rows,
        read_openings,
        read_rows,
        write_rows,
    )
    from rlef.run import RunFolder

    if form not in FORMS:
        raise typer.BadParameter(f"--as is {form!r}; allowed: {', '.join(FORMS)}")
    if min_reward is not None and math.isnan(min_reward):
        raise typer.BadParameter("--min-reward is nan; allowed: a number")
    check_new_file(file)
    run = RunFolder.open(run_path)
    name = check_rollouts(run, name)
    if min_reward is not None and name != TRAINING:
        raise typer.BadParameter(f"{name} has no rewards; allowed: --solved in place of it")
    choice = Choice(
        form=form,
        solved=solved,
        min_reward=min_reward,
        last_turn=last_turn,
        last_loss=last_loss,
        distinct=distinct,
    )
    openings = Openings() if form == "rollouts" else read_openings(run, name, data)
    counts = Counts()
    chosen = chosen_rows(read_rows(run, name), openings, choice, counts)
    rows = _at_least_one(chosen, counts, lambda: read_rows(run, name))
    with new_file(file) as draft:
        write_rows(rows, draft, choice, table=file.suffix == ".parquet")
    show(f"{file}: {counts.written} of {counts.seen} rollouts ({name} of {run.path}), as {form}")
    if counts.unjudged:
        say(f"{counts.unjudged} left out: the judge could not do its work")
    if name != TRAINING:
        say("these are of an evaluation: what is trained on them can no longer be measured by it")


def _at_least_one(
    rows: Iterator[dict[str, Any]], counts: Any, all_rows: Callable[[], Iterator[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    from rlef.environment import StopReason
    from rlef.run import RunError

    yield from rows
    if not counts.seen:
        raise RunError("no episode of these has ended yet, so there is nothing to write")
    if not counts.written:
        if not any(row["turns"] and row["stop"] != StopReason.INFRA_ERROR for row in all_rows()):
            judged = " that could be judged" if counts.unjudged else ""
            raise RunError(
                f"none of the {counts.seen} rollouts has an answer{judged}, so there is nothing to "
                "write"
            )
        raise RunError(
            f"none of the {counts.seen} rollouts is asked for, so there is nothing to write; "
            "allowed: fewer conditions"
        )
