# ruff: noqa: RUF001  (the bars of DeepSeek are wide)
"""Short chat templates that treat a dialogue as those of well-known families do.

What each makes of a dialogue is written down by hand beside it.
"""

from dataclasses import dataclass, field
from typing import Any

from chat_tokenizers import (
    CHATML_TOKENS,
    GEMMA,
    LLAMA3,
    LLAMA3_TOKENS,
    QWEN25,
    make_tokenizer,
)
from transformers import PreTrainedTokenizerFast

from rlef.environment import ChatFormat, Conversation

PROGRAM = "```python\nprint(1)\n```"
WRONG = "```python\nwrong\n```"
THOUGHT = f"<think>\nPerhaps\n{WRONG}\n</think>\n\n"
CHATML_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
CHATML_GAP = "<|im_end|>\n<|im_start|>user\n"
CHATML_ASK = "<|im_end|>\n<|im_start|>assistant\n"

QWEN3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}"
    "{% set text = m.content %}{% if m.role == 'assistant' %}{% set reason = '' %}"
    "{% if m.reasoning_content is string %}{% set reason = m.reasoning_content %}"
    "{% elif '</think>' in text %}{% set reason = text.split('</think>')[0].split('<think>')[-1] %}"
    "{% set text = text.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if loop.index0 > ns.last %}"
    "{% set text = '<think>\n' + reason.strip('\n') + '\n</think>\n\n' + text %}{% endif %}"
    "{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + text + '<|im_end|>\n' }}{% endfor %}"
    + CHATML_PROMPT.replace(
        "{% endif %}",
        "{% if enable_thinking is defined and enable_thinking is false %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}",
    )
)
QWEN35 = QWEN3.replace(
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}",
    "{{ '<think>\n\n</think>\n\n' }}{% else %}{{ '<think>\n' }}{% endif %}",
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'assistant' %}{% set text = m.content %}{% if '</think>' in text %}"
    "{% set text = text.split('</think>')[-1] %}{% endif %}"
    "{{ '<｜Assistant｜>' + text + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)
R1_TOKENS = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
GPT_OSS = (
    "{{ '<|start|>system<|message|>Current date: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}"
    "{% for m in messages %}{% if m.role == 'assistant' %}{% if '<|channel|>' in m.content %}"
    "{{ raise_exception('pass analysis in the thinking field') }}{% endif %}"
    "{% if loop.last and not add_generation_prompt %}{% if 'thinking' in m %}"
    "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}{% else %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}{% endif %}"
    "{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
GPT_OSS_TOKENS = (
    *("<|startoftext|>", "<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"),
    "<|call|>",
)
GLM4 = (
    "[gMASK]<sop>{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
GLM45 = (
    "[gMASK]<sop>{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}"
    "{{ '<|' + m.role + '|>\n' }}{% if m.role == 'assistant' %}{% set text = m.content %}"
    "{% set reason = '' %}{% if m.reasoning_content is string %}"
    "{% set reason = m.reasoning_content %}{% elif '</think>' in text %}"
    "{% set reason = text.split('</think>')[0].split('<think>')[-1] %}"
    "{% set text = text.split('</think>')[-1] %}{% endif %}"
    "{{ '<think>' + (reason.strip() if loop.index0 > ns.last else '') + '</think>\n' }}"
    "{{ text.strip() }}{% else %}{{ m.content }}"
    "{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '/nothink' }}{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
GLM_TOKENS = ("[gMASK]", "<sop>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>")
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}"
    "{{ bos_token + '[INST] ' + m.content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_V3 = (
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}{{ bos_token }}"
    "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}"
    "{% if loop.last and system %}{{ '[INST] ' + system + '\n\n' + m.content + '[/INST]' }}"
    "{% else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif %}"
    "{% else %}{{ ' ' + m.content | trim + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_SMALL = (
    "{% set day = strftime_now('%Y-%m-%d') %}{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ '[SYSTEM_PROMPT]' + messages[0].content + '[/SYSTEM_PROMPT]' }}{% else %}"
    "{{ '[SYSTEM_PROMPT]You are Mistral. Today is ' + day + '.[/SYSTEM_PROMPT]' }}{% endif %}"
    "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}"
    "{{ '[INST]' + m.content + '[/INST]' }}{% else %}{{ m.content + eos_token }}{% endif %}"
    "{% endfor %}"
)
GEMMA3 = (
    "{{ bos_token }}{% set first = '' %}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content + '\n\n' %}{% endif %}"
    "{% for m in messages if m.role != 'system' %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + "
    "(first if loop.first else '') + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI4 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
SMOLLM3 = (
    "{% set mode = '/think' %}{% if enable_thinking is defined and not enable_thinking %}"
    "{% set mode = '/no_think' %}{% endif %}"
    "{{ '<|im_start|>system\nToday Date: ' + strftime_now('%d %B %Y') + '\nReasoning Mode: ' + "
    "mode + '\n\n' + "
    "(messages[0].content if messages[0].role == 'system' else 'You are SmolLM.') + "
    "'<|im_end|>\n' }}{% for m in messages if m.role != 'system' %}{% set text = m.content %}"
    "{% if m.role == 'assistant' and mode == '/no_think' %}"
    "{% set text = '<think>\n\n</think>\n' + text.lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + text + '<|im_end|>\n' }}{% endfor %}"
    + CHATML_PROMPT.replace(
        "{% endif %}",
        "{% if mode == '/no_think' %}{{ '<think>\n\n</think>\n' }}{% endif %}{% endif %}",
    )
)
LFM2 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}" + CHATML_PROMPT
)
OLMO2 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ '<|assistant|>\n' + m.content + eos_token }}{% if not loop.last %}{{ '\n' }}{% endif %}"
    "{% else %}{{ '<|' + m.role + '|>\n' + m.content + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
GRANITE = (
    "{% if messages[0].role != 'system' %}{{ '<|start_of_role|>system<|end_of_role|>Today is ' + "
    "strftime_now('%B %d, %Y') + '.<|end_of_text|>\n' }}{% endif %}{% for m in messages %}"
    "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"
)
COHERE = (
    "{{ bos_token }}{% set names = {'user': '<|USER_TOKEN|>', 'assistant': '<|CHATBOT_TOKEN|>', "
    "'system': '<|SYSTEM_TOKEN|>'} %}{% for m in messages %}"
    "{{ '<|START_OF_TURN_TOKEN|>' + names[m.role] + m.content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"
)
COHERE_TOKENS = (
    *("<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"),
    *("<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
)
COMMAND_R7B = COHERE.replace(
    "m.content.strip()",
    "('<|START_RESPONSE|>' + m.content.split('<|END_THINKING|>')[-1] + '<|END_RESPONSE|>' "
    "if m.role == 'assistant' else m.content)",
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A template, and what becomes of a dialogue.

    Attributes:
        template, special, eos: of the tokenizer; the first special token begins a text.
        head: what stands before the first user message.
        ask: from the end of a user message to the beginning of an answer.
        gap: from the end of an answer to the next user message, what ends the answer included.
        answer: as it is sampled, without the token that ends it.
        kept: what stands for it in later prompts, from the end of the message before to its own.
        auto: what ``turns`` comes to.
        stops: the tokens that end an answer.
        ends: further ends that the model's files name.
        arguments: of the template.
    """

    template: str
    special: tuple[str, ...]
    eos: str
    head: str
    ask: str
    gap: str
    answer: str = PROGRAM
    kept: str
    auto: str = "append"
    stops: tuple[str, ...]
    ends: tuple[str, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        return make_tokenizer(self.template, self.special, self.eos)


def chatml(template: str, head: str = "<|im_start|>user\n", **changes: Any) -> Family:
    words: dict[str, Any] = {
        "special": CHATML_TOKENS,
        "eos": "<|im_end|>",
        "head": head,
        "ask": CHATML_ASK,
        "gap": CHATML_GAP,
        "kept": CHATML_ASK + PROGRAM,
        "stops": ("<|im_end|>",),
    }
    return Family(template=template, **(words | changes))


def cohere(template: str, **changes: Any) -> Family:
    turn = "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>"
    words: dict[str, Any] = {
        "special": COHERE_TOKENS,
        "eos": "<|END_OF_TURN_TOKEN|>",
        "head": "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
        "ask": f"{turn}<|CHATBOT_TOKEN|>",
        "gap": f"{turn}<|USER_TOKEN|>",
        "kept": f"{turn}<|CHATBOT_TOKEN|>{PROGRAM}",
        "stops": ("<|END_OF_TURN_TOKEN|>",),
    }
    return Family(template=template, **(words | changes))


def deepseek(template: str, opened: str, answer: str, **changes: Any) -> Family:
    end = "<｜end▁of▁sentence｜>"
    return Family(
        template=template, special=R1_TOKENS, eos=end,
        head="<｜begin▁of▁sentence｜><｜User｜>", ask=f"<｜Assistant｜>{opened}",
        gap=f"{end}<｜User｜>", answer=answer, kept=f"<｜Assistant｜>{PROGRAM}", auto="per_turn",
        stops=(end,), **changes,
    )  # fmt: skip


def glm(template: str, **changes: Any) -> Family:
    words: dict[str, Any] = {
        "special": GLM_TOKENS, "eos": "<|endoftext|>", "head": "[gMASK]<sop><|user|>\n",
        "ask": "<|assistant|>", "gap": "<|user|>\n", "answer": f"\n{PROGRAM}",
        "kept": f"<|assistant|>\n{PROGRAM}", "stops": ("<|user|>", "<|endoftext|>"),
    }  # fmt: skip
    return Family(template=template, ends=("<|user|>",), **(words | changes))


def gemma(template: str, **changes: Any) -> Family:
    return Family(
        template=template, special=("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        eos="<eos>", head="<bos><start_of_turn>user\n",
        ask="<end_of_turn>\n<start_of_turn>model\n", gap="<end_of_turn>\n<start_of_turn>user\n",
        kept=f"<end_of_turn>\n<start_of_turn>model\n{PROGRAM}", stops=("<end_of_turn>", "<eos>"),
        **changes,
    )  # fmt: skip


OSS_SYSTEM = "<|start|>system<|message|>Current date: 2024-07-26<|end|>"
FAMILIES = {
    "qwen2.5": chatml(QWEN25, "<|im_start|>system\nYou are Qwen.<|im_end|>\n<|im_start|>user\n"),
    "qwen3": chatml(QWEN3, answer=THOUGHT + PROGRAM, auto="per_turn"),
    "qwen3-no-thinking": chatml(
        QWEN3, ask=f"{CHATML_ASK}<think>\n\n</think>\n\n", auto="per_turn",
        arguments={"enable_thinking": False},
    ),
    "qwen3.5": chatml(
        QWEN35, ask=f"{CHATML_ASK}<think>\n", answer=THOUGHT.removeprefix("<think>\n") + PROGRAM,
        auto="per_turn",
    ),
    "deepseek-r1": deepseek(R1, "", THOUGHT.removesuffix("\n\n") + PROGRAM),
    "r1-distill": deepseek(
        R1.replace("{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}",
                   "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}"),
        "<think>\n", f"Perhaps\n{WRONG}\n</think>{PROGRAM}",
    ),
    "gpt-oss": Family(
        template=GPT_OSS, special=GPT_OSS_TOKENS, eos="<|return|>",
        head=f"{OSS_SYSTEM}<|start|>user<|message|>", ask="<|end|><|start|>assistant",
        gap="<|return|><|start|>user<|message|>",
        answer=f"<|channel|>analysis<|message|>Perhaps\n{WRONG}\n<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{PROGRAM}",
        kept=f"<|end|><|start|>assistant<|channel|>final<|message|>{PROGRAM}",
        auto="per_turn", stops=("<|return|>", "<|call|>"), ends=("<|call|>",),
    ),
    "glm-4": glm(GLM4),
    "glm-4.5": glm(
        GLM45, answer=f"\n<think>Perhaps\n{WRONG}\n</think>\n{PROGRAM}",
        kept=f"<|assistant|>\n<think></think>\n{PROGRAM}", auto="per_turn",
    ),
    "llama-2": Family(
        template=LLAMA2, special=("<s>", "</s>"), eos="</s>", head="<s>[INST] ", ask=" [/INST]",
        gap="</s><s>[INST] ", answer=f" {PROGRAM} ", kept=f" [/INST] {PROGRAM} ", stops=("</s>",),
    ),
    "llama-3": Family(
        template=LLAMA3, special=LLAMA3_TOKENS, eos="<|eot_id|>",
        head="<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
        ask="<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        gap="<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n",
        kept=f"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n{PROGRAM}",
        stops=("<|eot_id|>",),
    ),
    "mistral-v0.3": Family(
        template=MISTRAL_V3, special=("<s>", "</s>", "[INST]", "[/INST]"), eos="</s>",
        head="<s>[INST] ", ask="[/INST]", gap="</s>[INST] ", answer=f" {PROGRAM}",
        kept=f"[/INST] {PROGRAM}", stops=("</s>",),
    ),
    "mistral-small": Family(
        template=MISTRAL_SMALL, eos="</s>",
        special=("<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        head="<s>[SYSTEM_PROMPT]You are Mistral. Today is 2024-07-26.[/SYSTEM_PROMPT][INST]",
        ask="[/INST]", gap="</s>[INST]", kept=f"[/INST]{PROGRAM}", stops=("</s>",),
    ),
    "gemma-2": gemma(GEMMA),
    "gemma-3": gemma(GEMMA3),
    "phi-3": Family(
        template=PHI3, special=("<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"),
        eos="<|endoftext|>", head="<|user|>\n", ask="<|end|>\n<|assistant|>\n",
        gap="<|end|>\n<|user|>\n", kept=f"<|end|>\n<|assistant|>\n{PROGRAM}",
        stops=("<|end|>", "<|endoftext|>"),
    ),
    "phi-4": chatml(
        PHI4, "<|im_start|>user<|im_sep|>", special=(*CHATML_TOKENS, "<|im_sep|>"),
        ask="<|im_end|><|im_start|>assistant<|im_sep|>", gap="<|im_end|><|im_start|>user<|im_sep|>",
        kept=f"<|im_end|><|im_start|>assistant<|im_sep|>{PROGRAM}",
    ),
    "smollm3": chatml(
        SMOLLM3,
        "<|im_start|>system\nToday Date: 26 July 2024\nReasoning Mode: /think\n\nYou are SmolLM."
        "<|im_end|>\n<|im_start|>user\n",
        answer=THOUGHT + PROGRAM, kept=CHATML_ASK + THOUGHT + PROGRAM,
    ),
    "smollm3-no-thinking": chatml(
        SMOLLM3,
        "<|im_start|>system\nToday Date: 26 July 2024\nReasoning Mode: /no_think\n\n"
        "You are SmolLM.<|im_end|>\n<|im_start|>user\n",
        ask=f"{CHATML_ASK}<think>\n\n</think>\n",
        kept=f"{CHATML_ASK}<think>\n\n</think>\n{PROGRAM}", arguments={"enable_thinking": False},
    ),
    "lfm2": chatml(
        LFM2, "<|startoftext|><|im_start|>user\n", special=("<|startoftext|>", *CHATML_TOKENS)
    ),
    "olmo-2": Family(
        template=OLMO2, special=("<|endoftext|>", "<|user|>", "<|assistant|>"), eos="<|endoftext|>",
        head="<|endoftext|><|user|>\n", ask="\n<|assistant|>\n", gap="<|endoftext|>\n<|user|>\n",
        kept=f"\n<|assistant|>\n{PROGRAM}", stops=("<|endoftext|>",),
    ),
    "granite": Family(
        template=GRANITE, special=("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"),
        eos="<|end_of_text|>",
        head="<|start_of_role|>system<|end_of_role|>Today is July 26, 2024.<|end_of_text|>\n"
        "<|start_of_role|>user<|end_of_role|>",
        ask="<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        gap="<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>",
        kept=f"<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>{PROGRAM}",
        stops=("<|end_of_text|>",),
    ),
    "cohere": cohere(COHERE),
    "command-r7b": cohere(
        COMMAND_R7B,
        special=(*COHERE_TOKENS, "<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_THINKING|>",
                 "<|END_THINKING|>"),
        answer=f"<|START_THINKING|>Perhaps\n{WRONG}\n<|END_THINKING|><|START_RESPONSE|>{PROGRAM}"
        "<|END_RESPONSE|>",
        kept=f"<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>"
        f"{PROGRAM}<|END_RESPONSE|>",
        auto="per_turn",
    ),
}  # fmt: skip

USERS = ("Double n.", "Wrong.\nTry again.", "Still wrong: é ✓")


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def chat_of(family: Family, turns: str = "auto") -> ChatFormat:
    tokenizer = family.tokenizer()
    ends = tokenizer.convert_tokens_to_ids(list(family.ends))
    return ChatFormat(
        tokenizer,
        end_token_ids=ends,
        template_arguments=family.arguments,
        turns=turns,  # type: ignore[arg-type]
    )


def converse(chat: ChatFormat, answer: str) -> list[list[int]]:
    """Returns the prompts of three turns."""
    conversation = Conversation(chat)
    prompts = [conversation.start(USERS[0])]
    for message in USERS[1:]:
        ids = [*encode(chat.tokenizer, answer), chat.end_of_turn]  # type: ignore[arg-type]
        conversation.add_action(ids, [-0.5] * len(ids))
        expected = conversation.next_prompt(message)
        conversation.add_observation(message)
        prompts.append(conversation.prompt)
        assert prompts[-1] == expected
    return prompts
