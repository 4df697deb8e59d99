"""Tokens of a rollout as text, turn by turn, by the run's own tokenizer; no torch is needed."""

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlef.run.files import Record
from rlef.view.runs import Run

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TOY = "mini"
_HALF = "�"
_LONGEST = 4
"""Bytes of a character, and so tokens that it may be spread over."""
_DIGITS = 6


class TokenTexts:
    """Tokenizers of runs."""

    def __init__(self) -> None:
        self._loaded: dict[Path, Tokenizer | None] = {}
        self._lock = threading.Lock()

    def of(self, run: Run) -> "Tokenizer | None":
        """The tokenizer of a run: that of a checkpoint, or of the toy model; else ``None``.

        ``None``, too, where its package is not installed: a page is written without it.
        """
        if find_spec("tokenizers") is None:
            return None
        last = run.folder.policy_path()
        paths = [] if last is None else [last / "tokenizer.json"]
        model = run.options().get("model")
        name = model.get("name") if isinstance(model, dict) else model
        if name == _TOY:
            paths.append(Path(__file__).parents[1] / "assets" / "mini" / "tokenizer.json")
        own = paths[-1:] if name == _TOY else []
        for path in paths:
            if path.is_file() and (path in own or run.allowed(path)):
                return self._load(path)
        return None

    def _load(self, path: Path) -> "Tokenizer | None":
        from tokenizers import Tokenizer

        with self._lock:
            if path not in self._loaded:
                try:
                    self._loaded[path] = Tokenizer.from_file(str(path))
                except Exception:  # the library raises this very class
                    self._loaded[path] = None
            return self._loaded[path]


def tokens_of_turns(record: Record, tokenizer: "Tokenizer | None") -> list[list[dict[str, Any]]]:
    """The tokens of each turn: those of its prompt that are new, then those that were sampled.

    Args:
        record: A row of training.
        tokenizer: ``None``: the ids stand for the texts.

    Returns:
        ``text``, ``logprob`` (``None`` where it was not sampled), ``action``: whether it was, and
        ``place`` in the rollout.
    """
    ids, turn_ids, logprobs = (record[name] for name in ("token_ids", "turn_ids", "logprobs"))
    texts = token_texts(ids, tokenizer)
    ends = _turn_ends(turn_ids, len(record["turns"]))
    turns, start = [], 0
    for end in ends:
        turns.append(
            [
                {
                    "text": texts[i],
                    "logprob": round(logprobs[i], _DIGITS) if turn_ids[i] >= 0 else None,
                    "action": turn_ids[i] >= 0,
                    "place": i,
                }
                for i in range(start, end)
            ]
        )
        start = end
    return turns


def token_texts(ids: Sequence[int], tokenizer: "Tokenizer | None") -> list[str]:
    """The text of each token, such that they join to the text of all.

    Of a character that is spread over several tokens the first has all of it.
    """
    if tokenizer is None:
        return [str(i) for i in ids]
    by_id = _single_texts(sorted(set(ids)), tokenizer)
    texts = [by_id[i] for i in ids]
    place = 0
    while place < len(ids):
        if _HALF in texts[place]:
            for count in range(2, _LONGEST + 1):
                whole = tokenizer.decode(ids[place : place + count], skip_special_tokens=False)
                if _HALF not in whole:
                    texts[place : place + count] = [
                        whole,
                        *[""] * (len(texts[place : place + count]) - 1),
                    ]
                    place += count - 1
                    break
        place += 1
    return texts


def _single_texts(ids: Sequence[int], tokenizer: "Tokenizer") -> dict[int, str]:
    """The text that each id adds to what stands before: a first token may lose its space."""
    anchor = tokenizer.encode("a", add_special_tokens=False).ids[-1:]
    before = tokenizer.decode(anchor, skip_special_tokens=False)
    pairs = tokenizer.decode_batch([[*anchor, i] for i in ids], skip_special_tokens=False)
    return {
        i: pair[len(before) :] if pair.startswith(before) else pair
        for i, pair in zip(ids, pairs, strict=True)
    }


def _turn_ends(turn_ids: Sequence[int], turns: int) -> list[int]:
    """Behind the last token of each turn's answer."""
    ends = [0] * turns
    for place, turn in enumerate(turn_ids):
        if 0 <= turn < turns:
            ends[turn] = place + 1
    for turn in range(1, turns):
        ends[turn] = max(ends[turn], ends[turn - 1])
    return ends
