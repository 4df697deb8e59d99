"""One episode as a conversation, with all that is known of each turn."""

from collections.abc import Sequence
from typing import Any

from rlef.problems.types import PublicProblem
from rlef.run.files import Record
from rlef.view.episodes import updates_per_batch
from rlef.view.errors import missing
from rlef.view.problems import ProblemBook
from rlef.view.public_tests import public_tests
from rlef.view.runs import Run, Stage
from rlef.view.scores import Scores, scores_of
from rlef.view.tokens import TokenTexts, tokens_of_turns

CUT = 200_000
"""Longest text of an answer, in characters; the rest of it is given by ``text_of``."""
_SIDE = CUT // 2
FIELDS = ("prompt", "response", "program", "feedback")
"""Texts of a turn."""


def episode(
    run: Run, stage: Stage, row: int, book: ProblemBook, texts: TokenTexts
) -> dict[str, Any]:
    """An episode: ``/api/episode``.

    Args:
        run: The run.
        stage: A stage of it.
        row: Of the episode.
        book: Knows problems.
        texts: Knows tokenizers.

    Raises:
        ViewError: There is none, or it cannot be read.
    """
    where, record = _found(run, stage, row)
    problem, why = book.find(run, stage.name, record)
    statement = _statement(record, problem)
    tokenizer = texts.of(run)
    tokens = tokens_of_turns(record, tokenizer) if record.get("token_ids") else None
    scores = scores_of(run, where["batch"], row)
    turns = [
        {
            **_turn(record, t, tokens if tokenizer is not None else None),
            "public_tests": public_tests(problem, record, t, book.prompts(run)),
            **_numbers(record, t, scores),
            "tokens": None if tokens is None else _scored(tokens[t], scores),
        }
        for t in range(len(record["turns"]))
    ]
    cut: dict[str, int] = {}
    batch, per_batch = where["batch"], updates_per_batch(run)
    return {
        "row": row,
        "stage": stage.name,
        "problem": record["problem"],
        **{name: record.get(name) for name in ("family", "hidden_detail")},
        "statement": _shortened("statement", statement, cut),
        **{name: record.get(name) for name in ("stop", "solved", "final_verdict")},
        **{name: record.get(name) for name in ("passed_share", "blind", "sample")},
        "seed": None if record.get("seed") is None else str(record["seed"]),  # no double holds it
        "batch": batch,
        "update": None if batch is None or per_batch is None else (batch + 1) * per_batch,
        "status": where["status"],
        "turns": turns,
        "tests_unknown": why or _other_tests(record, problem),
        "cut": cut,
        **_neighbours(run, stage, where["place"]),
    }


def text_of(
    run: Run, stage: Stage, row: int, turn: int, field: str, book: ProblemBook, texts: TokenTexts
) -> str:
    """A whole text of an episode, however long: ``/api/text``.

    Args:
        run: The run.
        stage: A stage of it.
        row: Of the episode.
        turn: From 0; of no meaning for ``statement``.
        field: ``statement`` or one of ``FIELDS``.
        book: Knows problems.
        texts: Knows tokenizers.

    Raises:
        ViewError: There is no such text.
    """
    _, record = _found(run, stage, row)
    if field == "statement":
        text = _statement(record, book.find(run, stage.name, record).problem)
    elif field in FIELDS and 0 <= turn < len(record["turns"]):
        tokens, tokenizer = None, texts.of(run)
        if tokenizer is not None and field == "prompt" and turn == 0 and record.get("token_ids"):
            tokens = tokens_of_turns(record, tokenizer)
        text = _texts(record, turn, tokens)[field]
    else:
        raise missing(f"text {field!r} of turn {turn}")
    if text is None:
        raise missing(f"text {field!r} of turn {turn}")
    return str(text)


def _found(run: Run, stage: Stage, row: int) -> tuple[dict[str, Any], Record]:
    """Where an episode is, and all of it."""
    found = run.database.table(
        "SELECT row, place, size, batch, status FROM outcomes WHERE row = ?",
        [row],
        outcomes=stage.outcomes(),
    ).to_pylist()
    if not found:
        raise missing(f"episode {row} in stage {stage.name!r}")
    where = found[0]
    return where, stage.read(row, where["place"], where["size"])


def _statement(record: Record, problem: PublicProblem | None) -> str | None:
    """The statement: that of an evaluation's line, else the problem's, where it is known."""
    said: str | None = record.get("statement")
    return said if said is not None or problem is None else problem.statement


def _other_tests(record: Record, problem: PublicProblem | None) -> str | None:
    """Why a problem's public tests are not those that its verdicts are of, if so."""
    if problem is None:
        return None
    count = len(problem.public_tests)
    others = {len(v) for t in record["turns"] if (v := t["public_verdicts"])} - {count}
    return f"it has {count} public tests, and {max(others)} were run" if others else None


def _neighbours(run: Run, stage: Stage, place: int) -> dict[str, int | None]:
    outcomes = stage.outcomes()
    names = {"previous_row": ("<", "DESC"), "next_row": (">", "ASC")}
    found = {}
    for name, (sign, order) in names.items():
        query = f"SELECT row FROM outcomes WHERE place {sign} ? ORDER BY place {order} LIMIT 1"
        rows = run.database.rows(query, [place], outcomes=outcomes)
        found[name] = rows[0][0] if rows else None
    return found


def _texts(record: Record, turn: int, tokens: Sequence[Any] | None) -> dict[str, str | None]:
    this = record["turns"][turn]
    prompt = record["turns"][turn - 1]["feedback"] if turn else None
    if not turn and tokens:  # the first message stands nowhere else
        prompt = "".join(token["text"] for token in tokens[0] if not token["action"])
    return {"prompt": prompt, **{name: this[name] for name in FIELDS[1:]}}


def _turn(record: Record, turn: int, tokens: Sequence[Any] | None) -> dict[str, Any]:
    this, cut = record["turns"][turn], dict[str, int]()
    texts = _texts(record, turn, tokens)
    return {
        **{name: _shortened(name, text, cut) for name, text in texts.items()},
        "public_verdicts": this["public_verdicts"],
        "prompt_tokens": this["prompt_tokens"],
        "completion_tokens": this["completion_tokens"],
        "cut": cut,
    }


def _numbers(record: Record, turn: int, scores: Scores | None) -> dict[str, Any]:
    rewards, versions = record.get("rewards"), record.get("policy_versions")
    found = {
        "reward": rewards[turn] if rewards and turn < len(rewards) else None,
        "policy_version": versions[turn] if versions and turn < len(versions) else None,
    }
    names = {"value": "values", "return": "returns", "advantage": "advantages", "kl": "kl"}
    for name, column in names.items():
        found[name] = None if scores is None else scores.turn(column, turn)
    return found


def _scored(tokens: list[dict[str, Any]], scores: Scores | None) -> list[dict[str, Any]]:
    """Tokens with what the learner's networks say of those that were sampled."""
    found = []
    for token in tokens:
        more: dict[str, float | None] = dict.fromkeys(("policy_logprob", "ref_logprob"))
        if scores is not None and token["action"]:
            more = {name: scores.token(name, token["place"]) for name in more}
        found.append({**{k: v for k, v in token.items() if k != "place"}, **more})
    return found


def _shortened(name: str, text: str | None, cut: dict[str, int]) -> str | None:
    """The text, without its middle where it is too long, which is then noted in ``cut``."""
    if text is None or len(text) <= CUT:
        return text
    cut[name] = len(text) - 2 * _SIDE
    return f"{text[:_SIDE]}\n…\n{text[-_SIDE:]}"
