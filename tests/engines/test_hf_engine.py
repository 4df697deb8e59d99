"""The engine against full forwards, ``generate`` and itself."""

import asyncio
import copy
import math
import time
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tiny_models import VOCAB, make_model
from transformers import PreTrainedModel

from rlef.engines.hf import HFEngine
from rlef.engines.hf_settings import HFSettings
from rlef.engines.types import Completion, EngineError, FinishReason, SamplingParams
from rlef.engines.weights import ModelWeights
from rlef.learner.config import LoraSettings
from rlef.learner.lora import add_adapters

MODELS = {name: make_model(name) for name in ("llama", "llama-eager", "qwen2", "gpt2")}
STOP = (1, 2)
RAGGED = [[5, 9, 3], [7], list(range(3, 43)), [11, 4, 30, 31, 32, 6, 8], [9] * 17]


def make_engine(model: PreTrainedModel, **options: Any) -> HFEngine:
    return HFEngine(model, stop_token_ids=STOP, **options)


def room_for(model: PreTrainedModel, tokens: int) -> HFSettings:
    """Settings with room for the keys and values of so many tokens."""
    shape = HFEngine(model, stop_token_ids=STOP)._shape
    assert shape is not None
    return HFSettings(kv_memory_gb=shape.cost(1, tokens) / 1e9)


def full_logprobs(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """(len, V) log-probabilities of the next token, by one forward without any cache."""
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0].float().log_softmax(-1)


def assert_true_logprobs(
    model: PreTrainedModel, prompts: list[list[int]], completions: list[Completion]
) -> None:
    for prompt, completion in zip(prompts, completions, strict=True):
        reference = full_logprobs(model, [*prompt, *completion.token_ids])
        at = torch.arange(len(prompt) - 1, len(prompt) + len(completion.token_ids) - 1)
        wanted = reference[at, torch.tensor(completion.token_ids)]
        torch.testing.assert_close(
            torch.tensor(completion.logprobs), wanted, atol=2e-5, rtol=0, check_dtype=False
        )


def assert_same(some: list[Completion], others: list[Completion]) -> None:
    assert [c.token_ids for c in some] == [c.token_ids for c in others]
    assert [c.finish for c in some] == [c.finish for c in others]
    for one, other in zip(some, others, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_logprobs_are_those_of_a_full_forward(name: str) -> None:
    prompts = RAGGED * 6
    params = SamplingParams(max_new_tokens=40)
    completions = make_engine(MODELS[name]).generate_batch(prompts, params, range(30))
    assert_true_logprobs(MODELS[name], prompts, completions)
    lengths = [len(c.token_ids) for c in completions]
    assert len(set(lengths)) > 5 and max(lengths) > 20
    for completion in completions:
        stopped = completion.finish is FinishReason.STOP
        assert (completion.token_ids[-1] in STOP) == stopped
        assert not set(completion.token_ids[:-1]) & set(STOP)


@pytest.mark.parametrize("name", MODELS)
def test_greedy_is_what_generate_does(name: str) -> None:
    model = MODELS[name]
    params = SamplingParams(temperature=0, max_new_tokens=20)
    completions = make_engine(model).generate_batch(RAGGED, params, range(len(RAGGED)))
    for prompt, completion in zip(RAGGED, completions, strict=True):
        ids = torch.tensor([prompt])
        whole = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20,
            eos_token_id=list(STOP),
        )  # fmt: skip
        assert list(completion.token_ids) == whole[0, len(prompt) :].tolist()
        assert set(completion.logprobs) == {0.0}


@pytest.mark.parametrize("name", MODELS)
def test_turns_on_remembered_rows_equal_turns_from_scratch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS[name]
    engine, params = make_engine(model), SamplingParams(max_new_tokens=12)
    prompts = [list(prompt) for prompt in RAGGED * 4]
    rng = np.random.default_rng(0)
    for turn in range(3):
        order = rng.permutation(len(prompts))[: len(prompts) - 3 * turn]
        chosen = [prompts[i] for i in order] + [[3, 4, turn]]
        seeds = [*(100 * turn + order).tolist(), 7]
        forwards = watch_forwards(engine, monkeypatch)
        completions = engine.generate_batch(chosen, params, seeds)
        if turn:
            assert prefilled(forwards, len(chosen)) < sum(map(len, chosen)) / 2
        assert_same(completions, make_engine(model).generate_batch(chosen, params, seeds))
        assert_true_logprobs(model, chosen, completions)
        for i, completion in zip(order, completions, strict=False):
            feedback = rng.integers(3, VOCAB, size=rng.integers(1, 6)).tolist()
            prompts[i] = [*prompts[i], *completion.token_ids, *feedback]


def watch_forwards(engine: HFEngine, patch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Returns (rows, new tokens) of each forward from now on."""
    shapes: list[tuple[int, int]] = []
    run = engine._run

    def watched(ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        shapes.append((ids.shape[0], ids.shape[1]))
        return run(ids, *rest)

    patch.setattr(engine, "_run", watched)
    return shapes


def prefilled(shapes: list[tuple[int, int]], rows: int) -> int:
    """How many places ran before the first step of all rows."""
    return sum(map(math.prod, shapes[: shapes.index((rows, 1))]))


def test_cleared_rows_are_not_used_again() -> None:
    model = make_model("llama")
    engine, params = make_engine(model), SamplingParams(temperature=0, max_new_tokens=8)
    first = engine.generate_batch([[5, 9, 3]], params, [0])[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-0.7)
    prompt = [5, 9, 3, *first.token_ids, 4]
    fresh = make_engine(model).generate_batch([prompt], params, [0])
    assert engine.generate_batch([prompt], params, [0]) != fresh  # stale, as documented
    engine.clear_cache()
    assert_same(engine.generate_batch([prompt], params, [0]), fresh)


def test_same_seed_same_tokens_in_any_batch() -> None:
    params = SamplingParams(temperature=0.9, top_p=0.95, max_new_tokens=25)
    prompts, seeds = RAGGED * 3, list(range(40, 55))
    together = make_engine(MODELS["llama"]).generate_batch(prompts, params, seeds)
    backwards = make_engine(MODELS["llama"]).generate_batch(prompts[::-1], params, seeds[::-1])
    assert_same(together, backwards[::-1])
    tight = {"settings": room_for(MODELS["llama"], 128)}
    for options in ({"max_batch": 1}, {"max_batch": 4}, tight):
        split = make_engine(MODELS["llama"], **options).generate_batch(prompts, params, seeds)
        assert_same(together, split)
    shorter = make_engine(MODELS["llama"]).generate_batch(
        prompts, SamplingParams(temperature=0.9, top_p=0.95, max_new_tokens=5), seeds
    )
    assert [c.token_ids for c in shorter] == [c.token_ids[:5] for c in together]
    assert len({c.token_ids for c in together}) > 10


def sample_first_tokens(params: SamplingParams, count: int) -> np.ndarray:
    model = make_model("llama", vocab=8)
    engine = HFEngine(model, stop_token_ids=(1,), max_batch=count)
    drawn = engine.generate_batch([[3, 4, 5]] * count, params, range(count))
    return np.bincount([c.token_ids[0] for c in drawn], minlength=8)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    counts = sample_first_tokens(SamplingParams(temperature=temperature, max_new_tokens=1), 4000)
    logits = full_logprobs(make_model("llama", vocab=8), [3, 4, 5])[-1]
    wanted = (logits / temperature).softmax(-1).numpy().astype(np.float64)
    likely = wanted > 0.002
    observed = np.append(counts[likely], counts[~likely].sum() + 1e-9)
    expected = np.append(wanted[likely], wanted[~likely].sum() + 1e-9)
    expected *= observed.sum() / expected.sum()
    assert likely.sum() >= 3
    assert chisquare(observed, expected).pvalue > 1e-3


def test_top_k_and_top_p_restrict_the_support() -> None:
    probs = full_logprobs(make_model("llama", vocab=8), [3, 4, 5])[-1].exp().numpy()
    order = np.argsort(-probs)
    wide = {"temperature": 3.0, "max_new_tokens": 1}
    counts = sample_first_tokens(SamplingParams(top_k=3, **wide), 400)
    assert set(np.flatnonzero(counts)) == set(order[:3])
    flat = probs ** (1 / 3) / (probs ** (1 / 3)).sum()
    nucleus = 1 + int(np.searchsorted(np.cumsum(flat[order]), 0.6))
    assert 1 < nucleus < 8
    counts = sample_first_tokens(SamplingParams(top_p=0.6, **wide), 400)
    assert set(np.flatnonzero(counts)) == set(order[:nucleus])


def test_logprobs_are_those_of_the_cut_distribution() -> None:
    model = MODELS["qwen2"]
    params = SamplingParams(temperature=1.5, top_k=4, max_new_tokens=10)
    completion = make_engine(model).generate_batch([[5, 9, 3]], params, [3])[0]
    ids = [5, 9, 3]
    for token, logprob in zip(completion.token_ids, completion.logprobs, strict=True):
        logits = full_logprobs(model, ids)[-1] / 1.5
        top = logits.topk(4)
        wanted = top.values.log_softmax(-1)[top.indices == token]
        assert logprob == pytest.approx(wanted.item(), abs=1e-4)
        ids.append(token)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_context_limit_ends_an_answer(name: str) -> None:
    engine = HFEngine(MODELS[name], stop_token_ids=())
    prompts = [[5] * 120, [6] * 127, [7] * 3, [8] * 126]
    completions = engine.generate_batch(prompts, SamplingParams(max_new_tokens=40), range(4))
    assert [len(c.token_ids) for c in completions] == [8, 1, 40, 2]
    assert {c.finish for c in completions} == {FinishReason.LENGTH}
    assert_true_logprobs(MODELS[name], prompts, completions)


def test_a_prompt_that_is_remembered_whole() -> None:
    engine, params = make_engine(MODELS["llama"]), SamplingParams(max_new_tokens=1)
    assert_same(*(engine.generate_batch(RAGGED, params, range(5)) for _ in range(2)))


def test_finished_rows_leave_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(MODELS["llama"])
    forwards = watch_forwards(engine, monkeypatch)
    completions = engine.generate_batch([[7, 5]] * 32, SamplingParams(max_new_tokens=60), range(32))
    sizes = [rows for rows, _ in forwards]
    assert sizes[0] == 1 and sizes[1] == 32  # equal prompts run once
    assert sizes[1:] == sorted(sizes[1:], reverse=True) and sizes[-1] < 12
    assert sum(sizes[1:]) < 1.5 * sum(len(c.token_ids) for c in completions) + 60


def test_the_mode_of_the_model_comes_back() -> None:
    model = make_model("llama").train()
    make_engine(model).generate_batch([[5]], SamplingParams(max_new_tokens=2), [0])
    assert model.training
    assert make_engine(model).generate_batch([], SamplingParams(), []) == []


@pytest.mark.parametrize(
    ("prompts", "params", "seeds", "message"),
    [
        ([[]], SamplingParams(), [0], "prompt 0 has 0 tokens; allowed: 1 to 127"),
        ([[5], [5] * 128], SamplingParams(), [0, 1], "prompt 1 has 128 tokens"),
        ([[5]], SamplingParams(), [0, 1], "1 prompts and 2 seeds"),
        ([[5]], SamplingParams(temperature=-1), [0], "temperature is -1"),
        ([[5]], SamplingParams(temperature=1e-300), [0], "temperature is 1e-300; allowed: 0 "),
        ([[5]], SamplingParams(top_p=0), [0], "top_p is 0"),
        ([[5]], SamplingParams(top_k=-1), [0], "top_k is -1"),
        ([[5]], SamplingParams(max_new_tokens=0), [0], "max_new_tokens is 0"),
    ],
)
def test_wrong_calls_are_refused(
    prompts: list[list[int]], params: SamplingParams, seeds: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_engine(MODELS["llama"]).generate_batch(prompts, params, seeds)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="max_batch is 0; allowed: 1 or more"):
        make_engine(MODELS["llama"], max_batch=0)
    with pytest.raises(ValueError, match="which keys and values of 64 tokens fill"):
        make_engine(MODELS["llama"], max_context=100, settings=room_for(MODELS["llama"], 64))
    assert make_engine(MODELS["llama"], settings=room_for(MODELS["llama"], 64)).max_context == 64


def weights_of(model: PreTrainedModel, version: int) -> ModelWeights:
    return ModelWeights(version=version, model=model)


def answer(engine: HFEngine, prompt: list[int], seed: int = 0, new: int = 8) -> Completion:
    return asyncio.run(engine.generate(prompt, SamplingParams(max_new_tokens=new), seed))


def test_one_prompt_is_answered_as_in_a_batch() -> None:
    engine = make_engine(MODELS["llama"])
    [expected] = engine.generate_batch([[5, 9, 3]], SamplingParams(max_new_tokens=8), [0])
    assert_same([answer(engine, [5, 9, 3])], [expected])
    assert engine.busy_s > 0
    engine.close()


@pytest.mark.parametrize("own", [True, False], ids=["shared", "copied"])
def test_new_weights_serve_from_the_next_answer_on(own: bool) -> None:
    source = make_model("llama")
    model = source if own else make_model("llama")
    engine = make_engine(model)
    engine.load_weights(weights_of(source, 4))
    first = answer(engine, [5, 9, 3])
    prompt = [5, 9, 3, *first.token_ids]
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    engine.load_weights(weights_of(source, 6))
    fresh = make_engine(copy.deepcopy(source))
    with torch.no_grad():
        if not own:  # the learner goes on while the engine samples
            for parameter in source.parameters():
                parameter.add_(1.0)
    second = answer(engine, prompt)
    assert (first.version, second.version) == (4, 6)
    assert_same([second], [answer(fresh, prompt)])
    for some in (engine, fresh):
        some.close()


def test_weights_are_copied_twice_only_while_it_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    source, engine = make_model("llama"), make_engine(make_model("llama"))
    staged: list[int] = []
    take = engine._take

    def noted(version: int, new: Any) -> None:
        staged.extend([version] if isinstance(new, list) else [])
        take(version, new)

    monkeypatch.setattr(engine, "_take", noted)
    engine.load_weights(weights_of(source, 1))
    assert engine.version == 1 and not staged
    with engine._sampler:
        engine.load_weights(weights_of(source, 2))
        engine.load_weights(weights_of(source, 3))
        assert engine.version == 1
    assert answer(engine, [5, 9, 3]).version == 3 and staged == [2, 3]
    engine.close()


def test_weights_of_another_model_are_refused() -> None:
    engine = make_engine(make_model("llama"))
    with pytest.raises(ValueError, match="weights of another model: "):
        engine.load_weights(weights_of(MODELS["gpt2"], 1))


def merged_by_peft(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in which ``peft`` has added adapters to the weights, and without them."""
    plain = copy.deepcopy(model)
    layers: list[tuple[str, Any]] = [
        (name, layer) for name, layer in plain.named_modules() if hasattr(layer, "lora_A")
    ]
    for name, layer in layers:
        layer.merge()
        parent, _, own = name.rpartition(".")
        setattr(plain.get_submodule(parent), own, layer.get_base_layer())
    return plain


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_weights_with_adapters_are_those_of_the_merged_model(name: str) -> None:
    pytest.importorskip("peft", reason='pip install "rlef[lora]"')
    model = make_model(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out")
        add_adapters(model, LoraSettings(rank=2), 0)
    for own, parameter in model.named_parameters():
        if "lora_B" in own:
            torch.nn.init.normal_(parameter)
    expected = merged_by_peft(model).state_dict()
    found = dict(weights_of(model, 1).tensors())
    assert expected.keys() - found.keys() <= {"lm_head.weight"}  # tied: it comes once
    for own, tensor in found.items():
        torch.testing.assert_close(tensor, expected[own], rtol=0, atol=0)


def test_sleep_forgets_and_a_cancelled_answer_stops_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = HFEngine(MODELS["llama"], stop_token_ids=())
    run = engine._run
    monkeypatch.setattr(engine, "_run", lambda *words: (time.sleep(0.02), run(*words))[1])
    answer(engine, [5, 9, 3], new=2)
    assert engine._memory._groups
    engine.sleep()
    assert not engine._memory._groups

    async def cancelled() -> None:
        params = SamplingParams(max_new_tokens=1000)
        task = asyncio.create_task(engine.generate([5], params, 0))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    started = time.monotonic()
    asyncio.run(cancelled())
    assert time.monotonic() - started < 5 and not MODELS["llama"].training
    assert len(answer(engine, [5, 9, 3], new=2).token_ids) == 2
    engine.close()


def test_weights_that_cannot_be_taken_are_said_by_the_next_batch() -> None:
    engine = make_engine(make_model("llama"))
    norm = engine.model.state_dict()["model.norm.weight"]
    with pytest.raises(RuntimeError):
        engine._take(3, [(norm, torch.zeros(1, 2))])
    with pytest.raises(EngineError, match="could not take new weights"):
        engine.generate_batch([[5, 9]], SamplingParams(max_new_tokens=2), [0])
