"""Steps that are recorded and replayed, numbers of 16 bits, and draws from large vocabularies."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from families import make_family
from recorded import ReplayedSteps, on_a_gpu
from tiny_models import VOCAB, make_model
from transformers import PreTrainedModel

from rlef.engines.check import check_engine
from rlef.engines.decode import DecodedBatch
from rlef.engines.hf import HFEngine
from rlef.engines.hf_settings import HFSettings
from rlef.engines.sampling import invert_distribution
from rlef.engines.types import Completion, SamplingParams
from rlef.engines.weights import ModelWeights
from rlef.learner.precision import use_float32_attention

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt-oss", "smollm3")
STOP = range(3, 43)
PROMPTS = [[5, 9, 3], [7], list(range(3, 43)), [11, 4, 30, 31, 32, 6, 8], [9] * 17]


def sampled(engine: HFEngine, temperature: float = 1.0, first: int = 0) -> list[Completion]:
    params = SamplingParams(temperature=temperature, max_new_tokens=40)
    return engine.generate_batch(PROMPTS * 2, params, range(first, first + 2 * len(PROMPTS)))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_recorded_step_can_be_replayed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DecodedBatch, "_slots", lambda *_: 64)  # as on a GPU: seldom other shapes
    model = make_family(name)
    expected = sampled(HFEngine(model, stop_token_ids=STOP))
    assert len({len(done.token_ids) for done in expected}) > 1
    monkeypatch.setattr("rlef.engines.hf.StepGraphs", ReplayedSteps)
    engine = HFEngine(model, stop_token_ids=STOP)
    engine._graphs = True
    ReplayedSteps.replays = 0
    assert sampled(engine) == expected
    assert ReplayedSteps.replays >= 10


@pytest.mark.parametrize("name", ["lfm2", "qwen3-next", "mamba", "bloom"])
def test_a_model_without_rows_of_its_own_is_not_recorded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replayed step would go on with the state at which it was recorded."""
    monkeypatch.setattr(DecodedBatch, "_slots", lambda *_: 64)
    model = make_family(name)
    expected = sampled(HFEngine(model, stop_token_ids=STOP))
    monkeypatch.setattr("rlef.engines.hf.StepGraphs", ReplayedSteps)
    said: list[str] = []
    engine = HFEngine(model, stop_token_ids=STOP, message=said.append)
    engine._graphs = True
    ReplayedSteps.replays = 0
    assert sampled(engine) == expected and sampled(engine) == expected
    assert ReplayedSteps.replays == 0
    [line] = said  # once, however many batches there are
    assert line.startswith("rollout.hf.cuda_graphs: steps cannot be recorded (")


@on_a_gpu
@pytest.mark.parametrize("name", FAMILIES)
def test_graphs_give_what_launched_steps_give(name: str) -> None:
    model = make_family(name).to("cuda")
    said: list[str] = []
    engines = [
        HFEngine(
            model, stop_token_ids=STOP, message=said.append,
            settings=HFSettings(cuda_graphs=graphs),
        )
        for graphs in (False, True)
    ]  # fmt: skip
    for first in (0, 100):
        plain, replayed = (sampled(engine, first=first) for engine in engines)
        assert [a.token_ids for a in plain] == [b.token_ids for b in replayed]
    assert not said


@on_a_gpu
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2"])
@pytest.mark.parametrize("graphs", [False, True])
def test_greedy_on_a_gpu_is_what_generate_does(name: str, graphs: bool) -> None:
    model = make_family(name).to("cuda")
    settings = HFSettings(cuda_graphs=graphs)
    answers = sampled(HFEngine(model, stop_token_ids=(2,), settings=settings), temperature=0)
    for prompt, done in zip(PROMPTS * 2, answers, strict=True):
        ids = torch.tensor([prompt], device="cuda")
        whole = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=40,
            eos_token_id=2,
        )  # fmt: skip
        assert list(done.token_ids) == whole[0, len(prompt) :].tolist()


@on_a_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logprobs_on_a_gpu_are_those_of_a_forward(dtype: torch.dtype) -> None:
    exact = make_model("qwen2").to("cuda")
    engine = HFEngine(copy.deepcopy(exact), stop_token_ids=(1,), dtype=dtype)
    first, again, other = sampled(engine), sampled(engine), sampled(engine, first=50)
    assert [done.token_ids for done in first] == [done.token_ids for done in again]
    assert [done.token_ids for done in first] != [done.token_ids for done in other]
    gap = gap_to(exact, first, dtype)
    assert gap < (2e-5 if dtype == torch.float32 else 0.03)


def gap_to(model: PreTrainedModel, answers: list[Completion], dtype: torch.dtype) -> float:
    """Mean distance to whole forwards of the float32 weights, in that dtype."""
    gaps = []
    for prompt, done in zip(PROMPTS * 2, answers, strict=True):
        ids = torch.tensor([[*prompt, *done.token_ids]], device=model.device)
        autocast = torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32)
        with torch.no_grad(), autocast:
            states = model.base_model(ids, use_cache=False).last_hidden_state
        weight = model.get_output_embeddings().weight
        logprobs = (states[0, len(prompt) - 1 : -1].float() @ weight.t()).log_softmax(-1)
        wanted = logprobs.gather(1, ids[0, len(prompt) :, None])[:, 0].cpu()
        gaps += (torch.tensor(done.logprobs) - wanted).abs().tolist()
    return float(np.mean(gaps))


def moved(model: PreTrainedModel) -> PreTrainedModel:
    """Weights that no number of 16 bits is."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + (torch.rand_like(parameter) - 0.5) * 2**-7)
    return model


def test_in_bfloat16_it_is_near_a_learner_under_autocast() -> None:
    exact = moved(make_model("qwen2"))
    ours, rounded = make_model("qwen2"), copy.deepcopy(exact).to(torch.bfloat16).float()
    engine = HFEngine(ours, stop_token_ids=(1,), dtype=torch.bfloat16)
    engine.load_weights(ModelWeights(version=1, model=exact))
    engine._thread.submit(int).result()
    layer: Any = ours.model.layers[0]
    assert layer.mlp.up_proj.weight.dtype == torch.bfloat16
    assert layer.input_layernorm.weight.dtype == ours.lm_head.weight.dtype == torch.float32
    assert torch.equal(
        layer.mlp.up_proj.weight, exact.model.layers[0].mlp.up_proj.weight.bfloat16()
    )
    for model in (exact, rounded):
        use_float32_attention(model, model.device)  # as a learner on a CPU does
    answers = sampled(engine)
    gap = gap_to(exact, answers, torch.bfloat16)
    assert gap < 0.5 * gap_to(rounded, answers, torch.bfloat16)
    assert gap < 0.5 * gap_to(exact, answers, torch.float32)


@pytest.mark.parametrize("name", ["gpt2", "mixtral", "granite-moe", "gemma3", "mamba", "lfm2"])
def test_families_run_in_bfloat16(name: str) -> None:
    engine = HFEngine(make_family(name), stop_token_ids=(2,), dtype=torch.bfloat16)
    check_engine(engine, name)


def test_weights_of_a_smaller_model_are_refused() -> None:
    engine = HFEngine(make_model("llama"), stop_token_ids=(1,))
    other = make_model("llama")
    del other.model.layers[1]
    with pytest.raises(ValueError, match=r"weights of another model: it has no model\.layers\.1"):
        engine.load_weights(ModelWeights(version=1, model=other))


@pytest.mark.parametrize("size", [10_000, 4097, 4608])
def test_a_large_vocabulary_is_drawn_from_in_blocks(size: int) -> None:
    rng = torch.Generator().manual_seed(size)
    weights = torch.rand((64, size), generator=rng) ** 8
    weights[torch.rand(weights.shape, generator=rng) < 0.3] = 0
    weights[3] = 0
    weights[3, -1] = 1e-9
    weights[4], weights[4, 0] = 0, 1
    uniforms = torch.rand(64, generator=rng, dtype=torch.float64)
    uniforms[0], uniforms[1], uniforms[3] = 0, 1 - 1e-12, 1 - 1e-12
    found = invert_distribution(weights, uniforms)
    assert found.tolist() == invert_distribution(weights, uniforms, size).tolist()
    assert (weights.gather(1, found[:, None]) > 0).all()
    assert found[3] == size - 1 and size > VOCAB
