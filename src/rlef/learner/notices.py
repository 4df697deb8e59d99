"""What a run says of itself on the screen: what it trains, and when its numbers cannot be right."""

from collections.abc import Mapping

from transformers import PreTrainedModel

from rlef.engines.fresh import gap_limit

_SIGNED_SHARE = 0.1
"""Of ``gap_limit``: what the signed gap may come to. Rounding errs to both sides and leaves little
of it: with a sampler in float32 and a learner in bfloat16 it was 2e-4 nats per token at a gap of
0.008 (mini), and 1e-4 at 0.012 (SmolLM2-135M); in float32 both were below 1e-6."""


def gap_alarm(metrics: Mapping[str, float]) -> str | None:
    """Returns a line if sampler and learner disagree more than rounding explains, else ``None``.

    The learner computes anew the log-probabilities of what was sampled with the same weights
    (``logprob_gap``), and the engine those of a few tokens after it was given new weights
    (``engine_gap``); what they are apart becomes a wrong policy ratio. The signed gap is finer: it
    shows a sampler whose distribution is a little sharper or flatter than it says.

    Args:
        metrics: Of a batch; without these, or without an update, there is nothing to say.
    """
    if "bfloat16" not in metrics:
        return None
    limit = gap_limit(float32=not metrics["bfloat16"])
    limits = {"logprob_gap": limit, "engine_gap": limit}
    limits["logprob_gap_signed"] = _SIGNED_SHARE * limit
    for name, most in limits.items():
        gap = metrics.get(name, 0.0)
        if abs(gap) <= most:  # NaN is no agreement
            continue
        how = "on average" if name == "logprob_gap_signed" else "apart, to either side"
        return (
            "WARNING: sampler and learner disagree: log-probabilities of the sampled tokens are "
            f"{gap:.2g} nats per token {how} (rounding explains {most:g}), so this run does not "
            f"learn from its own samples; {name} in metrics.jsonl shows each batch"
        )
    return None


def adapter_line(model: PreTrainedModel) -> str | None:
    """Returns which layers of a model have adapters and which matrices have none.

    ``peft`` adapts modules, and fused experts of some models, the router and others are bare
    weights. ``None``: there are no adapters.
    """
    found = (name for name, module in model.named_modules() if hasattr(module, "lora_A"))
    adapted = {name for name in found if not name.endswith(".base_layer")}
    if not adapted:
        return None
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[no-untyped-call]
    theirs = {id(weight) for part in embeddings if part is not None for weight in part.parameters()}
    own = {name: weight for name, weight in model.named_parameters() if ".lora_" not in name}
    bare = {
        name: weight
        for name, weight in own.items()
        if weight.ndim > 1
        and id(weight) not in theirs
        and not any(name.startswith(f"{layer}.") for layer in adapted)
    }
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    total = sum(weight.numel() for weight in own.values())
    kinds = ", ".join(sorted({name.rpartition(".")[2] for name in adapted}))
    line = (
        f"LoRA: {len(adapted)} layers have adapters ({kinds}); {trained:,} parameters are trained "
        f"beside {total:,} frozen ones"
    )
    if bare:
        names = {".".join(name.removesuffix(".weight").split(".")[-2:]) for name in bare}
        share = sum(weight.numel() for weight in bare.values()) / total
        line += f"; without adapters: {', '.join(sorted(names))} ({share:.0%} of the weights)"
    return line
