"""How likely right answers are in fixed dialogues: exact, where solve rates are samples.

Probabilities at temperature 1, the mean over problems in percent, of the reference program; beside
it those of its body (all but its last line) and of its ending behind the right body:

    left out   second answer, after a right body with another detail, and its feedback
    train      the same on 400 training problems
    told       first answer where nothing is left out (``mini_told.py``, validation families)
    mend       second answer there, after a program with a mistake in what it computes

Then the ending of "left out" by detail.

usage: python benchmarks/mini_skill.py MODEL...
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from mini_told import told

from rlef.engines.load import load_chat, load_model
from rlef.environment import Episode, Prompts, public_job
from rlef.problems.mini import Specimen
from rlef.problems.mini.splits import load_specimens
from rlef.sandbox import Sandbox
from rlef.train.dialogues import answer_of, to_tokens

AT_ONCE = 32
"""Dialogues of a forward pass."""


@dataclass(frozen=True)
class Dialogue:
    """A dialogue that ends with the reference program, whose body has ``body`` tokens."""

    ids: list[int]
    places: list[int]
    body: int
    detail: str | None


def dialogue(texts: Sequence[str], specimen: Specimen, chat: Any) -> Dialogue:
    """Returns some messages and answers, and the reference program behind them."""
    program = specimen.programs[specimen.correct]
    whole = to_tokens([*texts, answer_of(program)], chat)
    last = max(whole.turn_ids)
    places = [place for place, turn in enumerate(whole.turn_ids) if turn == last]
    cut = program.rstrip("\n").rfind("\n") + 1
    before = chat.tokenizer.encode(f"```python\n{program[:cut]}", add_special_tokens=False)
    return Dialogue(list(whole.token_ids), places, len(before), specimen.problem.hidden_detail)


def second_answers(
    pairs: Sequence[tuple[Specimen, str]], chat: Any, prompts: Prompts, sandbox: Sandbox
) -> Iterator[Dialogue]:
    """Yields dialogues whose first program is given, where it fails a public test."""
    reports = sandbox.judge_many([public_job(one.problem, first) for one, first in pairs])
    for (one, first), report in zip(pairs, reports, strict=True):
        episode = Episode(one.problem.public, max_turns=3, prompts=prompts)
        texts = [episode.first_message, answer_of(first)]
        episode.answer(texts[-1])
        message = episode.observe(report)
        if message is not None:
            yield dialogue([*texts, message], one, chat)


def dialogues() -> dict[str, list[Dialogue]]:
    """Returns the four kinds; always the same ones."""
    chat, prompts = load_chat("mini"), Prompts.load("mini")
    found: dict[str, list[Dialogue]] = {}
    with Sandbox(workers=1) as sandbox:
        for name, split, most in (("left out", "valid", None), ("train", "train", 400)):
            draw = Random(1)
            hidden = [one for one in load_specimens(split) if one.disclosure == "hidden"][:most]
            pairs = [
                (one, draw.choice([x for i, x in enumerate(one.programs) if i != one.correct]))
                for one in hidden
            ]
            found[name] = list(second_answers(pairs, chat, prompts, sandbox))
        stated, draw = told("valid", 400), Random(2)
        found["told"] = [
            dialogue(
                [Episode(one.problem.public, max_turns=1, prompts=prompts).first_message],
                one,
                chat,
            )
            for one in stated
        ]
        pairs = [(one, draw.choice(one.mistakes)) for one in stated if one.mistakes]
        found["mend"] = list(second_answers(pairs, chat, prompts, sandbox))
    return found


@torch.no_grad()
def chances(model: Any, some: Sequence[Dialogue]) -> torch.Tensor:
    """Returns the chances of program, body and ending, (N, 3)."""
    found = []
    for start in range(0, len(some), AT_ONCE):
        part = some[start : start + AT_ONCE]
        ids = torch.zeros((len(part), max(len(one.ids) for one in part)), dtype=torch.int64)
        for row, one in zip(ids, part, strict=True):
            row[: len(one.ids)] = torch.tensor(one.ids)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        logprobs = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        for row, one in zip(logprobs, part, strict=True):
            answer = row[torch.tensor(one.places) - 1]
            parts = (answer, answer[: one.body], answer[one.body :])
            found.append(torch.stack([x.sum() for x in parts]))
    return torch.stack(found).exp()


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: python benchmarks/mini_skill.py MODEL...")
    kinds = dialogues()
    for name in sys.argv[1:]:
        model = load_model(name, "cpu")
        for kind, some in kinds.items():
            found = 100 * chances(model, some)
            whole, body, ending = found.mean(0).tolist()
            print(f"{name} | {kind} | {whole:.1f} | body {body:.1f} | ending {ending:.1f}")
            if kind == "left out":
                endings = defaultdict(list)
                for one, chance in zip(some, found[:, 2].tolist(), strict=True):
                    endings[one.detail].append(chance)
                by = sorted((str(key), sum(x) / len(x)) for key, x in endings.items())
                print("   ", ", ".join(f"{key} {mean:.0f}" for key, mean in by))


if __name__ == "__main__":
    main()
