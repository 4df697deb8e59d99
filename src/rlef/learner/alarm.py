"""When the numbers of an update say that something is wrong with the run itself."""

from collections.abc import Mapping

from rlef.engines.check import gap_limit


def gap_alarm(metrics: Mapping[str, float]) -> str | None:
    """Returns a line if sampler and learner disagree more than rounding explains, else ``None``.

    The learner computes anew the log-probabilities of what was sampled with the same weights; what
    they are apart becomes a wrong policy ratio.

    Args:
        metrics: Of ``PPOLearner.update``.
    """
    gap, limit = metrics["logprob_gap"], gap_limit(float32=not metrics["bfloat16"])
    if gap <= limit:
        return None
    return (
        f"WARNING: sampler and learner disagree: log-probabilities of the sampled tokens are "
        f"{gap:.2g} nats per token apart (rounding explains {limit:g}), so this run does not learn "
        "from its own samples; logprob_gap in metrics.jsonl shows each batch"
    )
