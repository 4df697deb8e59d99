"""Keys and values: how many bytes there are, what is remembered, and what is run again."""

import numpy as np
import pytest
import torch
from recorded import LiveBytes, on_a_gpu
from tiny_models import VOCAB, make_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from rlef.engines.hf import HFEngine
from rlef.engines.hf_settings import HFSettings
from rlef.engines.kv_cache import Memory, Remembered
from rlef.engines.types import Completion, SamplingParams

LIMIT_GB = 0.006


def deep_model() -> PreTrainedModel:
    """Many layers with small states: nearly all of its memory is keys and values."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=32, num_hidden_layers=16,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def three_turns(engine: HFEngine, episodes: int = 30) -> None:
    """Two groups in turn, in parts, and turns that begin as the ones before."""
    rng = np.random.default_rng(0)
    groups = [
        [rng.integers(3, VOCAB, size=rng.integers(10, 40)).tolist() for _ in range(episodes)]
        for _ in range(2)
    ]
    for turn in range(3):
        for rows in groups:
            answers = engine.generate_batch(
                rows, SamplingParams(max_new_tokens=10), range(episodes)
            )
            for row, answer in zip(rows, answers, strict=True):
                row += [*answer.token_ids, 5 + turn]


def test_the_limit_of_memory_is_the_peak() -> None:
    settings = HFSettings(kv_memory_gb=LIMIT_GB, prefill_tokens=64)
    engine = HFEngine(deep_model(), stop_token_ids=(1,), settings=settings)
    with LiveBytes() as bytes_:
        three_turns(engine)
    assert 0.9 * LIMIT_GB < bytes_.peak / 1e9 < 1.1 * LIMIT_GB
    engine.clear_cache()
    assert bytes_.now < 0.01 * LIMIT_GB * 1e9


@on_a_gpu
def test_the_limit_of_memory_is_the_peak_on_a_gpu() -> None:
    limit = 100 * LIMIT_GB  # so that the libraries' own memory is little beside it
    settings = HFSettings(kv_memory_gb=limit, prefill_tokens=2048)
    model = deep_model().to("cuda")
    engine = HFEngine(model, stop_token_ids=(1,), settings=settings, max_batch=4000)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    three_turns(engine, 3000)
    used = (torch.cuda.max_memory_allocated() - before) / 1e9
    assert 0.9 * limit < used < 1.1 * limit


def remembered(*rows: tuple[int, ...], size: int = 10) -> Remembered:
    return Remembered(rows, [], size)


def test_the_longest_common_beginning_is_found() -> None:
    memory = Memory()
    memory.add(remembered((1, 2, 3), (1, 2, 3, 4, 9)))
    memory.add(remembered((7, 8), (1, 2, 4)))
    wanted = {
        (1, 2, 3, 4, 5, 6): (1, 4),
        (1, 2, 3, 4, 9): (1, 4),  # whole, less the last token, which is fed again
        (1, 2, 3): (1, 2),
        (7, 8, 9): (0, 2),
        (7, 8, 9, 9, 9, 9): None,  # less than half
        (5, 5): None,
        (7,): None,
    }
    hits = memory.find(list(wanted))
    for prompt, hit in zip(wanted, hits, strict=True):
        if (expected := wanted[prompt]) is None:
            assert hit is None
        else:
            assert hit is not None
            assert hit.length == expected[1]
            assert hit.group.token_ids[hit.row][: hit.length] == prompt[: hit.length]


def test_what_goes_on_is_taken_over_and_the_oldest_is_forgotten() -> None:
    memory, first, second = Memory(), remembered((1, 2)), remembered((3, 4), (5, 6))
    memory.add(first)
    memory.add(second)
    hits = memory.find([(3, 4, 5)])
    assert memory.make_room(20, 40, hits, {id(second)}) == set()  # wanted after that, and it fits
    assert memory.make_room(20, 40, hits) == {id(second)}
    assert memory.size == 10
    memory.add(second)
    hits = memory.find([(3, 4, 5)])
    assert memory.make_room(30, 40, hits, {id(second)}) == set() and memory.size == 10
    assert memory.make_room(35, 40, hits, {id(second)}) == {id(second)} and not memory.size


def answers_of(engine: HFEngine, prompts: list[list[int]]) -> list[Completion]:
    return engine.generate_batch(prompts, SamplingParams(max_new_tokens=6), range(len(prompts)))


def test_a_turn_that_is_rendered_anew_runs_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = HFEngine(make_model("qwen2"), stop_token_ids=())
    rng = np.random.default_rng(1)
    heads = [rng.integers(3, VOCAB, size=30).tolist() for _ in range(4)]
    answers_of(engine, heads)
    # not the answers: other tokens where they stood, as where a template drops the reasoning
    later = [[*head, 9, 8, 7 + place] for place, head in enumerate(heads)]
    run, shapes = engine._run, []
    monkeypatch.setattr(
        engine, "_run", lambda ids, *rest: (shapes.append(tuple(ids.shape)), run(ids, *rest))[1]
    )
    found = answers_of(engine, later)
    assert shapes[0] == (4, 2) and set(shapes[1:]) == {(4, 1)}
    fresh = answers_of(HFEngine(make_model("qwen2"), stop_token_ids=()), later)
    assert [done.token_ids for done in found] == [done.token_ids for done in fresh]


def test_long_prompts_run_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    prompts = [rng.integers(3, VOCAB, size=size).tolist() for size in (100, 3, 61, 60, 1, 25)]
    whole = answers_of(HFEngine(make_model("qwen2"), stop_token_ids=()), prompts)
    settings = HFSettings(prefill_tokens=24)
    engine = HFEngine(make_model("qwen2"), stop_token_ids=(), settings=settings)
    run, sizes = engine._run, []
    monkeypatch.setattr(
        engine, "_run", lambda ids, *rest: (sizes.append(ids.numel()), run(ids, *rest))[1]
    )
    pieces = answers_of(engine, prompts)
    assert max(sizes) <= 24
    for one, other in zip(pieces, whole, strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-5)


def test_a_group_of_three_hundred() -> None:
    model = make_model("qwen2")
    engine = HFEngine(model, stop_token_ids=(1, 2), max_batch=300)
    rng = np.random.default_rng(3)
    prompts = [rng.integers(3, VOCAB, size=rng.integers(1, 30)).tolist() for _ in range(300)]
    params = SamplingParams(max_new_tokens=20)
    together = engine.generate_batch(prompts, params, range(300))
    few = [17, 230, 299]
    alone = HFEngine(model, stop_token_ids=(1, 2)).generate_batch(
        [prompts[i] for i in few], params, few
    )
    assert [together[i].token_ids for i in few] == [done.token_ids for done in alone]
    assert len({done.token_ids for done in together}) > 250
