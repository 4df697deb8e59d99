"""The warm start: supervised training of the mini model, from nothing to programs."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaForCausalLM

from rlef.algorithms import sft_loss
from rlef.environment import ChatFormat, Conversation, Prompts
from rlef.learner.models import Policy
from rlef.learner.packing import of_like_length
from rlef.problems.mini import fresh_specimens
from rlef.rollout import RolloutBatch
from rlef.run import check_free_folder
from rlef.sandbox import Sandbox
from rlef.train.dialogues import DialogueWriter, to_tokens
from rlef.train.mini_model import new_mini_model, train_tokenizer
from rlef.train.warmstart_config import WarmstartConfig


def run_warmstart(config: WarmstartConfig, out: Path, say: Callable[[str], None]) -> None:
    """Trains the mini model and saves it as a Hugging Face folder.

    The same settings on the same machine give the same weights.

    Args:
        config: The settings.
        out: The folder, new or empty; it stays so until the model is whole.
        say: Receives a line of progress after each part.

    Raises:
        RunError: There is something in the folder, or it cannot be made.
    """
    check_free_folder(out)
    with Sandbox(workers=2) as sandbox:
        writer = DialogueWriter(Prompts.load("mini"), config.max_turns, sandbox)
        dialogues = []
        for number in range(config.parts):
            specimens = fresh_specimens(number, config.problems_per_topic)
            seed = config.seed * config.parts + number
            dialogues.append(list(writer.write(specimens, seed)))
    tokenizer = train_tokenizer((t for d in dialogues[0] for t in d), config.vocab_size)
    model = new_mini_model(tokenizer, config.seed)
    chat = ChatFormat(tokenizer)
    parts = [[_sequence(to_tokens(d, chat)) for d in written] for written in dialogues]
    plans = [list(_plan(part, config, i)) for i, part in enumerate(parts)]
    say(f"{sum(map(len, parts))} dialogues, {sum(map(len, plans))} steps")
    trainer = _Trainer(model, config, total_steps=sum(map(len, plans)))
    for i, (part, plan) in enumerate(zip(parts, plans, strict=True)):
        losses = [trainer.step(_collate([part[j] for j in rows])) for rows in plan]
        say(f"part {i + 1}/{config.parts}: loss {sum(losses) / len(losses):.4f} nats per token")
    # Half the bytes; what is lost is far below what a step of training changes.
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".rlef-") as draft:
        model.bfloat16().save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        check_free_folder(out)  # it took minutes
        for path in sorted(Path(draft).iterdir(), key=lambda path: path.name == "config.json"):
            path.rename(out / path.name)


_Sequence = tuple[list[int], list[int]]
"""Token ids and turn ids."""


def _sequence(conversation: Conversation) -> _Sequence:
    return conversation.token_ids, conversation.turn_ids


def _plan(part: Sequence[_Sequence], config: WarmstartConfig, number: int) -> Iterator[list[int]]:
    """Yields the rows of each step: similar lengths together, steps in random order."""
    lengths = [len(ids) for ids, _ in part]
    steps = of_like_length(lengths, [1] * len(part), config.batch_tokens)
    Random(f"warmstart/{config.seed}/{number}").shuffle(steps)
    yield from steps


def _collate(rows: Sequence[_Sequence]) -> RolloutBatch:
    ids = [torch.tensor(row[0]) for row in rows]
    turn_ids = [torch.tensor(row[1]) for row in rows]
    token_mask = [torch.ones(len(row), dtype=torch.bool) for row in ids]
    none = torch.zeros((len(rows), 0))
    padded = pad_sequence(ids, batch_first=True)
    return RolloutBatch(
        token_ids=padded,
        token_mask=pad_sequence(token_mask, batch_first=True),
        sequence_ids=pad_sequence(
            [torch.zeros_like(row) for row in ids], batch_first=True, padding_value=-1
        ),
        turn_ids=pad_sequence(turn_ids, batch_first=True, padding_value=-1),
        behavior_logprobs=torch.zeros(padded.shape),
        prompt_ends=none.long(),
        turn_mask=none.bool(),
        rewards=none,
        versions=none.long(),
        groups=torch.arange(len(rows)),
        solved=torch.ones(len(rows), dtype=torch.bool),
    )


class _Trainer:
    """AdamW with linear warm-up and cosine decay."""

    def __init__(self, model: LlamaForCausalLM, config: WarmstartConfig, total_steps: int) -> None:
        self._model = model.train()
        self._policy = Policy(model)
        self._clip = config.grad_clip
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=1.0, weight_decay=config.weight_decay, betas=(0.9, 0.95)
        )

        def rate(step: int) -> float:
            if step < config.warmup_steps:
                return config.lr * (step + 1) / config.warmup_steps
            rest = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
            half = 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))
            return config.min_lr + (config.lr - config.min_lr) * half

        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, rate)

    def step(self, batch: RolloutBatch) -> float:
        """Takes one step; returns its loss."""
        loss = sft_loss(self._policy(batch).logprobs, batch.action_mask)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._clip)
        self._optimizer.step()
        self._schedule.step()
        return float(loss.detach())
