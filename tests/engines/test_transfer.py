"""Weights in buckets, without the cluster that carries them."""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from families import make_family
from tiny_models import make_model
from torch import Tensor
from transformers import PreTrainedModel

from rlef.engines import EngineError, HFEngine, SamplingParams
from rlef.engines.transfer import Bucket, Inbox, StreamedWeights, agreed, buckets
from rlef.engines.weights import ModelWeights, merged_tensors
from rlef.learner.config import LoraSettings
from rlef.learner.lora import add_adapters


@dataclass(frozen=True)
class Given(ModelWeights):
    """Any tensors, one by one, as a sharded learner gives them."""

    named: tuple[tuple[str, Tensor], ...] = ()

    def merged(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named


def given(*named: tuple[str, Tensor]) -> Given:
    return Given(version=3, model=None, named=named)  # type: ignore[arg-type]


def carried(bucket: Bucket) -> Bucket:
    """As another process gets it: read-only, as in Ray's object store."""
    there: Bucket = pickle.loads(pickle.dumps(bucket))
    there.data.flags.writeable = False
    return there


def streamed(
    weights: ModelWeights, *, checkpoint_names: bool = False, limit: int = 4096
) -> StreamedWeights:
    sent = map(carried, buckets(weights, checkpoint_names=checkpoint_names, limit=limit))
    return StreamedWeights(weights.version, sent, weights.logprobs)


def make_engine(model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> HFEngine:
    return HFEngine(model, stop_token_ids=(1, 2), dtype=dtype)


def assert_same_weights(engine: HFEngine, model: PreTrainedModel) -> None:
    ours = dict(merged_tensors(engine.model))
    theirs = dict(merged_tensors(model))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


def moved(kind: str) -> PreTrainedModel:
    model = make_model(kind)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("limit", [16, 48, 64, 80, 4096])
def test_every_bit_comes_over_and_no_bucket_is_larger_than_the_limit(limit: int) -> None:
    sent = (
        ("half", torch.randn(5, 3).to(torch.bfloat16)),
        ("scalar", torch.tensor(3, dtype=torch.int64)),
        ("none", torch.empty(0, 4)),
        ("at-the-limit", torch.randn(4, 4)),  # 64 bytes
        ("not-a-number", torch.tensor([float("nan"), -0.0, float("inf")], dtype=torch.float16)),
        ("turned", torch.randn(7, 3).t()),
        ("bits", torch.tensor([True, False, True])),
    )
    found = list(buckets(given(*sent), checkpoint_names=False, limit=limit))
    assert [bucket.number for bucket in found] == list(range(len(found)))
    assert [bucket.last for bucket in found] == [False] * (len(found) - 1) + [True]
    assert all(0 < bucket.data.nbytes <= limit for bucket in found)
    bytes_in_all = sum(-(-tensor.nbytes // 16) * 16 for _, tensor in sent)
    if limit in (16, 4096):
        assert len(found) == -(-bytes_in_all // limit)
    came = list(StreamedWeights(3, map(carried, found), lambda *_: np.zeros(0)).merged())
    for (name, tensor), (other, there) in zip(sent, came, strict=True):
        assert (name, tensor.shape, tensor.dtype) == (other, there.shape, there.dtype)
        bits = tensor.contiguous().reshape(-1).view(torch.uint8)
        assert torch.equal(bits, there.reshape(-1).view(torch.uint8)), name


def test_buckets_are_filled_when_they_are_asked_for() -> None:
    read: list[int] = []

    class Counted(Given):
        def merged(self) -> Iterator[tuple[str, Tensor]]:
            for number in range(8):
                read.append(number)
                yield str(number), torch.zeros(16)

    found = buckets(Counted(version=3, model=None), checkpoint_names=False, limit=128)  # type: ignore[arg-type]
    for number in range(4):
        assert len(next(found).pieces) == 2
        assert len(read) <= 2 * (number + 1) + 1  # one more: it did not fit


@pytest.mark.parametrize("kind", ["llama", "gpt2"])  # the head of gpt2 is its embedding
@pytest.mark.parametrize("limit", [1024, 1 << 28])  # an embedding has 6144 bytes
def test_an_engine_has_the_learners_weights(kind: str, limit: int) -> None:
    source, engine = moved(kind), make_engine(make_model(kind))
    gap = engine.load_weights(streamed(ModelWeights(version=7, model=source), limit=limit))
    assert engine.version == 7 and gap is not None and gap < 1e-6
    assert_same_weights(engine, source)
    engine.close()


def test_an_engine_in_16_bits_rounds_what_it_would_round() -> None:
    source = moved("gpt2")
    one, other = (make_engine(make_model("gpt2"), torch.bfloat16) for _ in range(2))
    one.load_weights(ModelWeights(version=7, model=source))
    gap = other.load_weights(streamed(ModelWeights(version=7, model=source)))
    assert gap is not None and 0 < gap < 0.3
    assert_same_weights(one, other.model)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_adapters_come_merged() -> None:
    pytest.importorskip("peft", reason='pip install "rlef[lora]"')
    source, engine = make_model("llama"), make_engine(make_model("llama"))
    add_adapters(source, LoraSettings(rank=2), 0)
    for name, parameter in source.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    engine.load_weights(streamed(ModelWeights(version=1, model=source)))
    assert_same_weights(engine, source)


def test_experts_come_joined_for_a_module_and_apart_by_the_names_of_checkpoints() -> None:
    source, engine = make_family("mixtral"), make_engine(make_family("mixtral"))
    weights = ModelWeights(version=1, model=source)
    engine.load_weights(streamed(weights))
    assert_same_weights(engine, source)
    apart = dict(streamed(weights, checkpoint_names=True).tensors())
    layer = apart["model.layers.1.block_sparse_moe.experts.3.w1.weight"]
    joined = source.state_dict()["model.layers.1.mlp.experts.gate_up_proj"]
    assert torch.equal(layer, joined[3, : len(layer)])
    with pytest.raises(EngineError, match="names of a checkpoint; wanted: of a module"):
        next(streamed(weights, checkpoint_names=True).merged())


def test_the_model_says_its_logprobs_from_afar() -> None:
    weights = ModelWeights(version=1, model=make_model("llama"))
    rows = [[5, 9, 3, 7], [11, 4, 30, 31]]
    np.testing.assert_array_equal(streamed(weights).logprobs(rows, 2), weights.logprobs(rows, 2))


Change = Callable[[list[Bucket]], list[Bucket]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sent: sent[:2] + sent[3:], "bucket 2 of .* 3 was to come, and not bucket 3"),
        (lambda sent: [sent[0], sent[2], sent[1], *sent[3:]], "bucket 1 .* and not bucket 2"),
        (lambda sent: sent[:1] * 2 + sent[1:], "bucket 1 .* and not bucket 0"),
        (lambda sent: sent[:-1], "ended before bucket 7, and more were to come"),
        (lambda _: [], "ended before bucket 0"),
        (lambda sent: [*sent[:3], replace(sent[3], version=2)], "not bucket 3 of version 2"),
    ],
    ids=["lost", "order", "twice", "end", "none", "older"],
)
def test_a_bucket_that_is_lost_or_out_of_order_is_noticed(change: Change, message: str) -> None:
    sent = list(buckets(given(("a", torch.zeros(8, 4))), checkpoint_names=False, limit=16))
    weights = StreamedWeights(3, change(sent), lambda *_: np.zeros(0))
    with pytest.raises(EngineError, match=message):
        list(weights.merged())
    with pytest.raises(EngineError, match="were read before; allowed: once"):
        next(weights.tensors())


def test_an_engine_that_got_a_part_samples_only_after_a_whole() -> None:
    source, engine = moved("llama"), make_engine(make_model("llama"))
    weights = ModelWeights(version=7, model=source)
    sent = list(buckets(weights, checkpoint_names=False, limit=8192))
    with pytest.raises(EngineError, match="bucket 2 of the weights of version 7 was to come"):
        engine.load_weights(StreamedWeights(7, sent[:2] + sent[3:], weights.logprobs))
    ask = ([[5, 9, 3]], SamplingParams(max_new_tokens=4), [0])
    with pytest.raises(EngineError, match="could not take new weights: bucket 2"):
        engine.generate_batch(*ask)
    engine.load_weights(StreamedWeights(7, sent, weights.logprobs))
    assert engine.generate_batch(*ask)[0].version == 7
    assert_same_weights(engine, source)


def test_an_engine_that_stays_behind_on_purpose_is_noticed() -> None:
    source, engine = moved("llama"), make_engine(make_model("llama"))
    engine.load_weights(streamed(ModelWeights(version=1, model=source)))
    with torch.no_grad():
        for parameter in source.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    take = engine._take
    engine._take = lambda version, _: take(version, ())  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="still samples from older weights after version 2"):
        engine.load_weights(streamed(ModelWeights(version=2, model=source)))
    with pytest.raises(EngineError, match="still samples from older weights after version 2"):
        engine.generate_batch([[5]], SamplingParams(max_new_tokens=1), [0])


def test_tensors_go_to_their_places_as_they_come_and_while_it_samples_to_a_copy() -> None:
    source, engine = moved("llama"), make_engine(make_model("llama"))
    ours, there = engine.model.state_dict(), []

    class Watched(ModelWeights):
        def merged(self) -> Iterator[tuple[str, Tensor]]:
            name = None
            for name, tensor in super().merged():
                yield name, tensor
                there.append(torch.equal(ours[name], tensor))

    with engine._sampler:  # a batch runs
        engine.load_weights(Watched(version=1, model=source))
    assert there and not any(there)
    engine._taking.result()
    assert_same_weights(engine, source)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter += 1
    there.clear()
    engine.load_weights(Watched(version=2, model=source))
    assert there and all(there)
    engine.close()


def test_one_thread_brings_buckets_and_another_reads_them() -> None:
    source = moved("llama")
    weights = ModelWeights(version=7, model=source)
    inbox = Inbox(7, timeout_s=20)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: dict(StreamedWeights(7, inbox, weights.logprobs).merged()))
        for bucket in buckets(weights, checkpoint_names=False, limit=1024):
            inbox.put(bucket)
        found = reading.result()
    for name, tensor in merged_tensors(source):
        assert torch.equal(found[name], tensor)


def test_nobody_waits_for_ever_at_an_inbox() -> None:
    sent = list(buckets(given(("a", torch.zeros(8, 4))), checkpoint_names=False, limit=16))
    inbox = Inbox(3, timeout_s=0.05)
    inbox.put(sent[0])
    with pytest.raises(EngineError, match=r"took no bucket of .* version 3 for 0\.05 s"):
        inbox.put(sent[1])
    reader = iter(inbox)
    assert next(reader) is sent[0]
    with pytest.raises(EngineError, match=r"bucket 1 of .* 3 did not come within 0\.05 s"):
        next(reader)
    inbox.close()
    for bucket in sent:  # dropped: nobody reads
        inbox.put(bucket)
    inbox = Inbox(3, timeout_s=0.05)
    inbox.put(EngineError("the learner is gone"))
    with pytest.raises(EngineError, match="the learner is gone"):
        next(iter(inbox))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_an_engine_rounds_is_sent_rounded_and_nothing_else(dtype: torch.dtype) -> None:
    source = moved("gpt2")
    whole, rounded = (make_engine(make_model("gpt2"), dtype) for _ in range(2))
    weights = ModelWeights(version=7, model=source)
    holds = rounded.held_dtypes()
    sent = list(buckets(weights, checkpoint_names=False, dtypes=holds))
    assert {piece.dtype for piece in sent[0].pieces} == {"float32", str(dtype)[6:]}
    assert sum(b.data.nbytes for b in sent) < sum(
        b.data.nbytes for b in buckets(weights, checkpoint_names=False)
    )
    whole.load_weights(streamed(weights))
    rounded.load_weights(StreamedWeights(7, map(carried, sent), weights.logprobs))
    assert_same_weights(rounded, whole.model)
    rows = [[5, 9, 3, 7], [11, 4, 30, 31]]
    ours, theirs = (
        ModelWeights(version=7, model=engine.model).logprobs(rows, 1) for engine in (rounded, whole)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_a_tensor_that_nobody_knows_or_that_is_smaller_already_goes_as_it_is() -> None:
    sent = given(
        ("a", torch.tensor([1 + 2**-8, 1 + 3 * 2**-8])),  # to the even one of two as near
        ("half", torch.ones(2, dtype=torch.bfloat16)),
        ("other", torch.tensor([1 + 2**-8])),
        ("number", torch.tensor([1 << 40])),
    )
    holds = {"a": "bfloat16", "half": "float32", "number": "bfloat16"}
    (bucket,) = buckets(sent, checkpoint_names=False, dtypes=holds)
    kinds = {piece.name: piece.dtype for piece in bucket.pieces}
    assert kinds == {"a": "bfloat16", "half": "bfloat16", "other": "float32", "number": "int64"}
    came = dict(StreamedWeights(3, [bucket], lambda *_: np.zeros(0)).merged())
    assert came["a"].tolist() == [1.0, 1 + 2**-6]
    assert agreed([holds, dict(holds)]) == holds
    assert agreed([holds, {}]) == agreed([holds, None]) == agreed([]) == {}
