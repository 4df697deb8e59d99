"""An engine that says what a script tells it to, and what it needs around it."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rlef.engines import (
    ChatCompletion,
    Completion,
    EngineError,
    FinishReason,
    Generate,
    SamplingParams,
    Weights,
)
from rlef.engines.batcher import Batcher
from rlef.environment import ChatFormat, Prompts
from rlef.problems import Problem, Test
from rlef.rollout import (
    EpisodeRequest,
    EpisodeSettings,
    LocalRollouts,
    Rollout,
    run_requests,
)
from rlef.sandbox import Limits, Sandbox

TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
DOUBLE = Problem(
    name="double",
    statement="Read n, print 2n.",
    public_tests=(Test("2\n", "4\n"),),
    private_tests=(Test("7\n", "14\n"),),
    family="arithmetic",
    hidden_detail=None,
)
RIGHT = "```python\nprint(2 * int(input()))\n```"
WRONG = "```python\nprint(5)\n```"
ONLY_PUBLIC = "```python\nprint(4)\n```"
ONLY_PRIVATE = "```python\nprint(14)\n```"
NO_CODE = "I cannot."
LEAST = 16
"""Tokens of room without which ``make`` asks for no answer: a quarter of 64."""
TOO_LONG = "too long"
"""A script's word for a prompt that a server does not take."""


def make_chat() -> ChatFormat:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|user|>", "<|assistant|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
    )
    tokenizer.train_from_iterator([RIGHT, WRONG, DOUBLE.statement], trainer)
    return ChatFormat(
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, chat_template=TEMPLATE, eos_token="<|end|>"
        )
    )


Script = Callable[[str, int], str]
"""(text of the whole prompt, how many answers it has had) -> answer."""


class ScriptedEngine:
    """Answers groups as its script says; remembers what it was asked.

    Attributes:
        calls: prompts and seeds of each batch, in their order.
        fail_after: batches after which it fails.
        version: of its weights.
    """

    def __init__(
        self,
        chat: ChatFormat,
        script: Script,
        *,
        concurrency: int = 4,
        fail_after: int | None = None,
        batch_s: float = 0.0,
    ) -> None:
        self.chat = chat
        self.concurrency = concurrency
        self.max_context = None
        self.busy_s = 0.0
        self.calls: list[list[tuple[list[int], int]]] = []
        self.fail_after = fail_after
        self.version = 0
        self._script = script
        self._batch_s = batch_s
        self._thread = ThreadPoolExecutor(1)
        self._batchers: dict[asyncio.AbstractEventLoop, Batcher] = {}

    def seat(self) -> AbstractContextManager[Generate]:
        loop = asyncio.get_running_loop()
        new = Batcher(self.generate_batch, self.concurrency, self._thread)
        return self._batchers.setdefault(loop, new).seat()

    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        seeds: Sequence[int],
        abandoned: Callable[[], bool] = lambda: False,
    ) -> list[Completion]:
        if len(self.calls) == self.fail_after:
            raise EngineError("it is gone")
        self.calls.append([(list(p), s) for p, s in zip(prompts, seeds, strict=True)])
        end = time.monotonic() + self._batch_s
        while time.monotonic() < end and not abandoned():
            time.sleep(0.01)
        return [complete(self.chat, self._script, prompt, self.version) for prompt in prompts]

    def load_weights(self, weights: Weights) -> None:
        self.version = weights.version

    def held_dtypes(self) -> dict[str, str]:
        return {}

    def sleep(self) -> None:
        pass

    def close(self) -> None:
        self._thread.shutdown()

    async def generate(self, prompt: Sequence[int], params: SamplingParams, seed: int) -> object:
        with self.seat() as generate:
            return await generate(prompt, params, seed)


def complete(chat: ChatFormat, script: Script, prompt: Sequence[int], version: int) -> Completion:
    text = chat.decode(prompt)
    answer = script(text, text.count("<|assistant|>") - 1)
    ids = chat.tokenizer.encode(answer, add_special_tokens=False)
    ids = (*ids, chat.end_of_turn)
    logprobs = tuple(-0.01 * (i + 1) for i in range(len(ids)))
    return Completion(token_ids=ids, logprobs=logprobs, finish=FinishReason.STOP, version=version)


class ScriptedStream:
    """The same answers from an engine that takes prompts one by one, a moment later each.

    Attributes:
        asked: prompts and seeds in the order they came.
        now: prompts that it samples.
        most: the same, at most.
        fail_after: answers after which it fails.
    """

    def __init__(
        self,
        chat: ChatFormat | None,
        script: Script,
        *,
        concurrency: int = 4,
        fail_after: int | None = None,
    ) -> None:
        self.chat = chat
        self.concurrency = concurrency
        self.max_context = None
        self.busy_s = 0.0
        self.asked: list[tuple[list[object], int]] = []
        self.now = 0
        self.most = 0
        self.fail_after = fail_after
        self._script = script
        self._slots: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    def seat(self) -> AbstractContextManager[Generate]:
        return nullcontext(self.generate)

    async def generate(
        self, prompt: Sequence[object], params: SamplingParams, seed: int
    ) -> Completion | ChatCompletion:
        new = asyncio.Semaphore(self.concurrency)
        async with self._slots.setdefault(asyncio.get_running_loop(), new):
            self.asked.append((list(prompt), seed))
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await asyncio.sleep(0.001)
            finally:
                self.now -= 1
            if self.fail_after == 0:
                raise EngineError("it is gone")
            if self.fail_after is not None:
                self.fail_after -= 1
            return self._complete(prompt)

    def _complete(self, prompt: Sequence[object]) -> Completion | ChatCompletion:
        if self.chat is not None:
            return complete(self.chat, self._script, prompt, 0)
        text = "".join(f"<|{message['role']}|>{message['content']}" for message in prompt)
        answer = self._script(text, len(prompt) // 2)
        if answer == TOO_LONG:
            return ChatCompletion(text="", finish=FinishReason.NO_ROOM)
        counts = {"prompt_tokens": len(text), "completion_tokens": len(answer)}
        return ChatCompletion(text=answer, finish=FinishReason.STOP, **counts)

    def close(self) -> None:
        pass


def make(
    engine: ScriptedEngine | ScriptedStream,
    sandbox: Sandbox,
    *,
    max_turns: int = 3,
    max_context: int | None = 4096,
    **more: object,
) -> LocalRollouts:
    settings = EpisodeSettings(
        sampling=SamplingParams(max_new_tokens=64),
        max_turns=max_turns,
        max_context=max_context,
        prompts=Prompts.load("mini"),
        **{"limits": Limits(cpu_s=2), **more},
    )
    return LocalRollouts(engine, engine.chat, sandbox, settings)


def requests(count: int, problem: Problem = DOUBLE) -> list[EpisodeRequest]:
    return [EpisodeRequest(problem=problem, seed=seed) for seed in range(count)]


def run(
    engine: ScriptedEngine | ScriptedStream,
    sandbox: Sandbox,
    todo: int | Sequence[EpisodeRequest] = 1,
    **words: object,
) -> list[Rollout]:
    with make(engine, sandbox, **words) as rollouts:
        return run_requests(rollouts, requests(todo) if isinstance(todo, int) else todo)


def plain(rollouts: Sequence[Rollout]) -> list[str]:
    """All that is in them, to compare."""
    return [
        json.dumps([getattr(rollout, field.name) for field in fields(rollout)], default=_plain)
        for rollout in rollouts
    ]


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) else value.tolist()
