"""Sampling against whole sequences, over many families of ``transformers``.

``pytest -v tests/engines/test_families.py`` lists the families that are exact; most are slow.
"""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from families import FAMILIES, make_family
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from rlef.engines import Completion, HFEngine, ModelError, SamplingParams
from rlef.engines.check import check_engine
from rlef.engines.context import check_context, context_limit
from rlef.engines.row_attention import Forward
from rlef.learner.attention import can_pack
from rlef.learner.config import LearnerConfig
from rlef.learner.head import OutputHead, body, check_output_head
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch

ALWAYS = ("mistral", "gemma2", "llama4", "mpt", "gpt-oss", "mamba", "qwen3-next")
"""A window; mixed layers and capped logits; chunks; ALiBi; sinks; recurrence; linear attention."""
NO_LEARNER = {"modernbert-decoder"}
"""Sampled, but refused by the learner: more than a linear layer makes their logits."""
PADDED = {
    # attention by functions of their own, ALiBi, chunks, or windows only their masks know of
    *("qwen2-moe", "phimoe", "stablelm", "gptj", "gpt-neo", "codegen", "bloom", "mpt", "falcon"),
    *("falcon-alibi", "llama4", "nemotron"),
    # state beside keys and values
    *("qwen3-next", "qwen3.5", "lfm2", "mamba", "mamba2", "falcon-mamba", "falcon-h1", "bamba"),
    *("granite-hybrid", "jamba"),
}
"""Their learner reads padded rows."""
STOP = range(3, 43)


def of_every_family(always: Sequence[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "name",
        [pytest.param(name, marks=() if name in always else pytest.mark.slow) for name in FAMILIES],
    )


def whole_logprobs(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    """(len - 1,) log-probabilities of the tokens after the first, by one forward, no padding."""
    tokens = torch.tensor([list(ids)])
    with torch.no_grad():
        logprobs = model(tokens, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    return logprobs.gather(1, tokens[0, 1:, None])[:, 0]


def three_turns(
    model: PreTrainedModel, temperature: float, *, remember: bool = True
) -> list[tuple[list[int], Completion]]:
    """Prompt and answer of every turn: answers end at different times, feedback differs too."""
    engine = HFEngine(model, stop_token_ids=STOP)
    params = SamplingParams(temperature=temperature, max_new_tokens=16)
    longest = min(engine.max_context, 512)
    rng = np.random.default_rng(0)
    rows = [rng.integers(11, 300, size).tolist() for size in (5, 20, 33, 20)]
    found = []
    for turn in range(3):
        rows = [row for row in rows if len(row) < longest]
        seeds = [10 * turn + i for i in range(len(rows))]
        if not remember:
            engine.clear_cache()
        for i, done in enumerate(engine.generate_batch(rows, params, seeds)):
            found.append((rows[i], done))
            feedback = rng.integers(11, 300, 1 + (9 * i + 4 * turn) % 23).tolist()
            rows[i] = [*rows[i], *done.token_ids, *feedback]
    return found


@of_every_family(ALWAYS)
def test_three_turns_are_sampled_as_whole_sequences_say(name: str) -> None:
    model = make_family(name)
    turns = three_turns(model, 1.0)
    assert len({len(done.token_ids) for _, done in turns}) > 2
    for prompt, done in turns:
        wanted = whole_logprobs(model, [*prompt, *done.token_ids])[len(prompt) - 1 :]
        torch.testing.assert_close(torch.tensor(done.logprobs), wanted, atol=2e-4, rtol=0)
    with_memory, without = (three_turns(model, 0.0, remember=word) for word in (True, False))
    assert [done.token_ids for _, done in with_memory] == [done.token_ids for _, done in without]


@of_every_family(("gemma2", "granite", "opt"))
def test_the_learner_makes_the_models_own_logits(name: str) -> None:
    model = make_family(name)
    if name in NO_LEARNER:
        with pytest.raises(ValueError, match="makes other logits of its last hidden states"):
            check_output_head(model)
        return
    check_output_head(model)
    ids = torch.arange(11, 41)[None]
    with torch.no_grad():
        # twenty times as large, so that a cap shows: of the embedding, and so of the head if tied
        weight = model.get_output_embeddings().weight
        weight.mul_(20)
        states = body(model)(input_ids=ids, use_cache=False).last_hidden_state
        wanted = model(input_ids=ids, use_cache=False).logits
        torch.testing.assert_close(OutputHead.of(model).logits(states), wanted.float())


def one_turn_each(model: PreTrainedModel) -> RolloutBatch:
    """Four answers that the model samples, with rewards."""
    engine = HFEngine(model, stop_token_ids=STOP)
    params = SamplingParams(temperature=1.0, max_new_tokens=16)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(11, 300, size).tolist() for size in (5, 20, 33, 20)]
    answers = engine.generate_batch(prompts, params, [1, 2, 3, 4])
    rows = [[*p, *a.token_ids] for p, a in zip(prompts, answers, strict=True)]
    shape = (len(rows), max(map(len, rows)))
    ids, turn_ids = torch.zeros(shape, dtype=torch.int64), torch.full(shape, -1)
    logprobs = torch.zeros(shape)
    for i, (row, prompt, answer) in enumerate(zip(rows, prompts, answers, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        turn_ids[i, len(prompt) : len(row)] = 0
        logprobs[i, len(prompt) : len(row)] = torch.tensor(answer.logprobs)
    mask = torch.arange(shape[1]) < torch.tensor([[len(row)] for row in rows])
    ones = torch.ones((len(rows), 1))
    return RolloutBatch(
        token_ids=ids,
        token_mask=mask,
        sequence_ids=torch.where(mask, 0, -1),
        turn_ids=turn_ids,
        behavior_logprobs=logprobs,
        prompt_ends=torch.tensor([[len(prompt) - 1] for prompt in prompts]),
        turn_mask=ones.bool(),
        rewards=torch.tensor([[1.0], [-1.0], [-1.0], [1.0]]),
        versions=torch.zeros_like(ones, dtype=torch.int64),
        groups=torch.arange(len(rows)),
        solved=torch.zeros(len(rows), dtype=torch.bool),
    )


@of_every_family(("gemma2", "gpt-oss", "lfm2"))
def test_after_two_updates_sampler_learner_and_transformers_agree(name: str) -> None:
    model = make_family(name)
    if name in NO_LEARNER:
        return
    config = LearnerConfig(lr=1e-3, minibatch=4, warmup_updates=0, micro_batch_tokens=64)
    learner = LocalLearner(model, config, seed=0)
    assert can_pack(model) == (name not in PADDED)
    first = [p.detach().clone() for p in model.parameters()]
    for _ in range(2):
        learner.update(one_turn_each(model), steps=1)
    assert any(not torch.equal(p, q) for p, q in zip(first, model.parameters(), strict=True))
    batch = one_turn_each(model)
    with torch.no_grad():
        ours = learner.policy(batch).logprobs
    near = 5e-5 if name == "granite-moe" else 2e-5  # its logits are multiplied by two, 100 and more
    torch.testing.assert_close(ours, batch.behavior_logprobs, atol=near, rtol=0)
    for row, length in enumerate(batch.lengths.tolist()):
        wanted = whole_logprobs(model, batch.token_ids[row, :length].tolist())
        is_action = batch.action_mask[row, 1:length]
        torch.testing.assert_close(
            ours[row, 1:length][is_action], wanted[is_action], atol=2e-5, rtol=0
        )


@pytest.mark.parametrize(("name", "limit"), [("phi3-longrope", 64), ("llama-dynamic", 512)])
def test_a_rope_chosen_by_length_is_refused_where_it_would_change(name: str, limit: int) -> None:
    model = make_family(name)
    assert context_limit(model.config) == limit
    check_context(model.config, limit, "M", "max_context")
    with pytest.raises(ModelError, match=f"max_context is {limit + 1}, but .*M.* up to {limit}$"):
        check_context(model.config, limit + 1, "M", "max_context")
    ids = list(range(11, 300))[: limit + 1] * 3
    alone, beside = (whole_logprobs(model, ids[:length]) for length in (limit, limit + 1))
    assert (alone[:40] - beside[:40]).abs().max() > 0.01  # what is refused
    within, end = (whole_logprobs(model, ids[:length]) for length in (limit // 2, limit))
    torch.testing.assert_close(within, end[: len(within)], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "limit"), [("gpt2", 512), ("mpt", 512), ("bloom", 8192), ("mamba", 8192)]
)
def test_limits_by_other_names_or_none(name: str, limit: int) -> None:
    config = make_family(name).config
    assert context_limit(config) == limit
    check_context(config, limit, "M", "max_context")
    if limit == 8192:  # not a limit of the model's
        check_context(config, 10**6, "M", "max_context")


@pytest.mark.parametrize("name", ["gpt2", "gemma3", "falcon-alibi", "lfm2"])
def test_the_self_check_lets_pass_what_is_exact(name: str) -> None:
    check_engine(HFEngine(make_family(name), stop_token_ids=STOP), name)


def random_model(kind: str, **words: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=320, hidden_size=64, **words)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model.eval()


def test_the_self_check_finds_attention_that_looks_ahead() -> None:
    bert = random_model(
        "bert", num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        initializer_range=0.3,
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"^B: BertLMHeadModel "):
        check_engine(HFEngine(bert, stop_token_ids=STOP), "B")


def test_the_self_check_finds_a_mask_that_lets_all_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_family("llama")
    engine = HFEngine(model, stop_token_ids=STOP)
    mask = Forward.mask
    monkeypatch.setattr(Forward, "mask", lambda *words: mask(*words).clamp(min=0))
    with pytest.raises(ModelError, match="gives other log-probabilities token by token"):
        check_engine(engine, "M")


def test_the_self_check_finds_weights_that_are_no_numbers() -> None:
    model = make_family("gpt2")
    with torch.no_grad():
        model.get_input_embeddings().weight[5] = torch.nan
    with pytest.raises(ModelError, match="M: "):
        check_engine(HFEngine(model, stop_token_ids=STOP), "M")


def test_models_without_a_usable_cache_are_one_line() -> None:
    rwkv = random_model("rwkv", num_hidden_layers=2, attention_hidden_size=64)
    with pytest.raises(ModelError, match=r"^RwkvForCausalLM keeps its state in no cache"):
        HFEngine(rwkv, stop_token_ids=STOP)
    minimax = random_model(
        "minimax", num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        intermediate_size=32, num_local_experts=2,
        layer_types=["full_attention", "linear_attention"],
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"^M: MiniMaxForCausalLM cannot be sampled"):
        check_engine(HFEngine(minimax, stop_token_ids=STOP), "M")
