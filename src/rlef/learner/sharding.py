"""Networks of which each rank holds a part: PyTorch's FSDP2 (``fully_shard``).

Each layer of a model is a unit, whose weights are gathered for its pass and dropped again; what is
not in a layer (embeddings, last norm, head) is gathered for the pass of the whole network.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from transformers import PreTrainedModel

from rlef.engines.load import load_config, load_model
from rlef.engines.sharded import whole
from rlef.engines.weights import as_in_checkpoints, merged_tensors
from rlef.learner.attention import register
from rlef.learner.config import LearnerConfig
from rlef.learner.frozen import loading_dtype
from rlef.learner.models import Models, Policy, join_models, prepare, reference_rests
from rlef.learner.offload import has_own_memory
from rlef.learner.passes import shaped_model
from rlef.learner.precision import (
    Precision,
    autocast,
    register_float32_attention,
    resolve_precision,
)
from rlef.learner.ranks import Ranks
from rlef.learner.reading import in_float32, load_to_read


def load_on_ranks(name: str, config: LearnerConfig, ranks: Ranks) -> PreTrainedModel:
    """Returns a model for ``LocalLearner``: on the first rank its weights, else only its shape.

    Drop it once the learner is made: what the first rank has is whole, see ``load_to_read``. Of one
    rank it is the policy itself, on its device.

    Args:
        name: ``mini``, a folder or a hub id; other ranks read its settings only.
        config: Says in which dtype the weights are best loaded.
        ranks: Where the learner will run.

    Raises:
        ModelError: It cannot be loaded; on all ranks.
    """
    assert ranks.device is not None
    dtype = loading_dtype(config, ranks.device)
    if not ranks.several:
        return load_model(name, ranks.device, dtype)
    model = ranks.on_first(lambda: load_to_read(name, dtype))
    return shaped_model(load_config(name)) if model is None else model


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardedWeights:
    """``Weights`` of a policy that is sharded: every rank has to ask for the same, in one order.

    Attributes:
        version: as there.
        policy: on each rank its part; the learner goes on changing it.
        precision: in which its passes run.
        model: it is whole nowhere.
    """

    version: int
    policy: Policy
    precision: Precision
    model: None = None

    @torch.no_grad()
    def merged(self) -> Iterator[tuple[str, Tensor]]:
        """See ``Weights.merged``; a tensor at a time is whole, on every rank."""
        for name, tensor in merged_tensors(self.policy.model):
            yield name, whole(tensor)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """See ``Weights.tensors``; a tensor, or a layer of fused experts, is whole at a time."""
        return as_in_checkpoints(self.policy.model, self.merged())

    @torch.no_grad()
    def logprobs(self, rows: Sequence[Sequence[int]], first: int) -> NDArray[np.float64]:
        """See ``Weights.logprobs``; each rank computes all of them."""
        device = self.policy.model.device
        ids = torch.tensor(rows, device=device)
        with autocast(self.precision, device):
            logits = self.policy.logits(ids)[:, first - 1 : -1]
        found = logits.float().log_softmax(-1).gather(2, ids[:, first:, None])
        numbers: NDArray[np.float64] = found.flatten().double().cpu().numpy()
        return numbers


def sharded_models(
    model: PreTrainedModel, config: LearnerConfig, seed: int, temperature: float, ranks: Ranks
) -> Models:
    """Makes all networks of an update, a part of each on every rank.

    They are made on the meta device. Then the first rank, which alone has values, sends them tensor
    by tensor, and a layer is whole on a rank only until it is sharded.

    Args:
        model: As ``load_on_ranks`` returns it.
        config: As for ``build_models``.
        seed: As there.
        temperature: As there.
        ranks: As there.

    Raises:
        ValueError: As ``build_models``, on all ranks.
    """
    assert ranks.device is not None
    device = ranks.device
    precision = resolve_precision(config.precision, device)

    def read_from() -> Models:
        exact = loading_dtype(config, device) is torch.float32
        with in_float32(model, [layer for _, layer in _layers(model)]) if exact else nullcontext():
            prepare(model, precision, device)
        return join_models(model, config, seed, temperature, device=device, copies=False)

    source = ranks.on_first(read_from)
    models = join_models(_shape_of(model, ranks), config, seed, temperature, device=device)
    mesh = init_device_mesh(device.type, (ranks.size,))
    shard = _Sharder(mesh, precision, ranks)
    rests = reference_rests(config) and has_own_memory(device)
    shard(models.policy, None if source is None else source.policy)
    register_fsdp_forward_method(models.policy, "logits")
    register_fsdp_forward_method(models.policy, "likeliest")
    if models.critic is not None:
        shard(models.critic, None if source is None else source.critic)
    if isinstance(models.reference, Policy):
        offload = CPUOffloadPolicy() if rests else OffloadPolicy()
        shard(models.reference, None if source is None else source.reference, offload)
        register_fsdp_forward_method(models.reference, "likeliest")
    return Models(models.policy, models.critic, models.reference, sharded=True)


def _shape_of(model: PreTrainedModel, ranks: Ranks) -> PreTrainedModel:
    """A model on the meta device that attends as the first rank's does."""
    register()
    register_float32_attention()
    shape = shaped_model(model.config)
    shape.generation_config = ranks.share(model.generation_config)
    attention = ranks.share(model.config._attn_implementation)
    if shape.config._attn_implementation != attention:
        shape.set_attn_implementation(attention)
    return shape


class _Sharder:
    """Gives networks on the meta device their values, and shards them."""

    def __init__(self, mesh: DeviceMesh, precision: Precision, ranks: Ranks) -> None:
        self._mesh = mesh
        self._ranks = ranks
        self._exact = MixedPrecisionPolicy(cast_forward_inputs=False)
        self._rounded = self._exact
        if precision == "bfloat16":
            self._rounded = MixedPrecisionPolicy(
                param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
            )

    def __call__(
        self, network: nn.Module, source: nn.Module | None, offload: OffloadPolicy | None = None
    ) -> None:
        offload = offload or OffloadPolicy()
        for name, layer in [*_layers(network)]:
            self._fill(layer, None if source is None else source.get_submodule(name))
            self._shard_layer(layer, offload)
        self._fill(network, source)
        self._shard(network, self._exact, offload)
        for module in network.modules():
            if isinstance(module, FSDPModule):  # losses have the denominator of the whole minibatch
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)

    def _shard_layer(self, layer: nn.Module, offload: OffloadPolicy) -> None:
        """Shards a layer so that its weights are sent in bfloat16 where products round them anyway.

        What no product rounds is sent as it is: norms by themselves, and where such weights stand
        beside others all of the layer.
        """
        norms = [part for part in layer.modules() if _has_vectors_only(part)]
        if self._rounded is self._exact or any([*part.children()] for part in norms):
            self._shard(layer, self._exact, offload)
            return
        for norm in norms:
            self._shard(norm, self._exact, offload)
        self._shard(layer, self._rounded, offload)

    def _shard(self, part: nn.Module, policy: MixedPrecisionPolicy, offload: OffloadPolicy) -> None:
        # Dropped after each pass also where it is the whole network: its next one may be far off.
        fully_shard(
            part,
            mesh=self._mesh,
            mp_policy=policy,
            offload_policy=offload,
            reshard_after_forward=True,
        )

    def _fill(self, part: nn.Module, source: nn.Module | None) -> None:
        """Gives tensors on the meta device memory, and the values that the first rank has."""
        made: dict[int, Any] = {}
        for name, module in part.named_modules():
            theirs = None if source is None else source.get_submodule(name)
            for tensors in (module._parameters, module._buffers):
                for key, ours in tensors.items():
                    if ours is None or not ours.is_meta:
                        continue
                    if id(ours) not in made:
                        value = torch.empty_like(ours, device=self._ranks.device)
                        if theirs is not None:
                            value.copy_(getattr(theirs, key).detach())
                        dist.broadcast(value, 0)
                        if isinstance(ours, nn.Parameter):
                            value = nn.Parameter(value, requires_grad=ours.requires_grad)
                        made[id(ours)] = value
                    tensors[key] = made[id(ours)]


def _has_vectors_only(part: nn.Module) -> bool:
    """Whether a module has weights of its own, and none that a matrix product takes."""
    own = list(part.parameters(recurse=False))
    return bool(own) and all(weight.ndim < 2 for weight in own)


def _layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers of the model in a network, with their names; none is in another."""
    model = next(module for module in network.modules() if isinstance(module, PreTrainedModel))
    kinds = set(model._no_split_modules or ())
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    longest = set(max(lists, key=len, default=()))
    found = ""
    for name, module in network.named_modules():
        is_layer = type(module).__name__ in kinds or (not kinds and module in longest)
        if is_layer and not (found and name.startswith(f"{found}.")):
            found = name
            yield name, module
