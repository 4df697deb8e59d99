"""An engine that says what a script tells it to, and what it needs around it."""

from collections import deque
from collections.abc import Callable, Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rlef.engines import (
    ChatCompletion,
    Completion,
    EngineError,
    FinishReason,
    SamplingParams,
)
from rlef.environment import ChatFormat, FeedbackOptions, Prompts, RewardConfig
from rlef.problems import Problem, Test
from rlef.rollout import RolloutWorker
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
    """Answers as its script says; remembers what it was asked."""

    def __init__(self, chat: ChatFormat, script: Script) -> None:
        self.chat = chat
        self.script = script
        self.calls: list[list[tuple[list[int], int]]] = []

    def generate(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, seeds: Sequence[int]
    ) -> list[Completion]:
        self.calls.append([(list(p), s) for p, s in zip(prompts, seeds, strict=True)])
        return [self._complete(prompt) for prompt in prompts]

    def _complete(self, prompt: Sequence[int]) -> Completion:
        text = self.chat.decode(prompt)
        answer = self.script(text, text.count("<|assistant|>") - 1)
        ids = self.chat.tokenizer.encode(answer, add_special_tokens=False)
        ids = (*ids, self.chat.end_of_turn)
        logprobs = tuple(-0.01 * (i + 1) for i in range(len(ids)))
        return Completion(token_ids=ids, logprobs=logprobs, finish=FinishReason.STOP)


class ScriptedStream:
    """The same answers from an engine that takes prompts one by one; the oldest one first.

    Attributes:
        asked: keys, prompts and seeds in the order they came.
        most: prompts that it had at a time, at most.
        fail_after: answers after which it fails.
        cancelled: how often ``cancel`` was called.
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
        self.asked: list[tuple[int, list[object], int]] = []
        self.most = 0
        self.fail_after = fail_after
        self.cancelled = 0
        self._script = script
        self._waiting: deque[tuple[int, list[object]]] = deque()

    def submit(self, key: int, prompt: Sequence[object], params: SamplingParams, seed: int) -> None:
        self.asked.append((key, list(prompt), seed))
        self._waiting.append((key, list(prompt)))
        self.most = max(self.most, len(self._waiting))

    def collect(self, timeout_s: float) -> list[tuple[int, Completion | ChatCompletion]]:
        if self.fail_after == 0:
            raise EngineError("it is gone")
        if self.fail_after is not None:
            self.fail_after -= 1
        key, prompt = self._waiting.popleft()
        if self.chat is not None:
            return [(key, ScriptedEngine(self.chat, self._script)._complete(prompt))]
        text = "".join(f"<|{message['role']}|>{message['content']}" for message in prompt)
        answer = self._script(text, len(prompt) // 2)
        if answer == TOO_LONG:
            return [(key, ChatCompletion(text="", finish=FinishReason.NO_ROOM))]
        counts = {"prompt_tokens": len(text), "completion_tokens": len(answer)}
        return [(key, ChatCompletion(text=answer, finish=FinishReason.STOP, **counts))]

    def cancel(self) -> None:
        self.cancelled += 1
        self._waiting.clear()

    def close(self) -> None:
        pass


def make_worker(
    engine: ScriptedEngine | ScriptedStream,
    sandbox: Sandbox,
    *,
    max_turns: int = 3,
    max_context: int = 4096,
    group_size: int = 4,
    feedback: FeedbackOptions | None = None,
    rewards: RewardConfig | None = None,
    **more: object,
) -> RolloutWorker:
    return RolloutWorker(
        engine=engine,
        chat=engine.chat,
        sandbox=sandbox,
        sampling=SamplingParams(max_new_tokens=64),
        max_turns=max_turns,
        max_context=max_context,
        prompts=Prompts.load("mini"),
        feedback=feedback or FeedbackOptions(),
        rewards=rewards or RewardConfig(),
        limits=Limits(cpu_s=2),
        group_size=group_size,
        **more,
    )
