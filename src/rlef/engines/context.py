"""How many tokens a model can take: what its settings say, and where its RoPE would change.

A RoPE that is chosen by length changes all that stands in a text when the text, or another one in
the batch, grows beyond a length: sampler and learner, and two sizes of micro-batch, would differ.
``dynamic`` does so beyond what the model was made for, ``longrope`` beyond the original length.
"""

from transformers import PreTrainedConfig

from rlef.engines.types import ModelError

UNSTATED = 8192
"""Tokens of a model that states no limit, such as one with ALiBi or a recurrent state."""
_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "context_length", "seq_length")


def context_limit(config: PreTrainedConfig) -> int:
    """Returns the tokens of prompt and answer together that a model can take, with exact results.

    Args:
        config: Of the model. Where it states no limit it is 8192.
    """
    limits = [limit for limit in (_made_for(config), _rope_limit(config)) if limit is not None]
    return min(limits, default=UNSTATED)


def check_context(config: PreTrainedConfig, wanted: int, model: str, setting: str) -> None:
    """Makes sure that a model can take so many tokens, with exact results.

    Args:
        config: Of the model.
        wanted: Tokens of prompt and answer together.
        model: Its name, for the error.
        setting: Name of the setting, for the error.

    Raises:
        ModelError: It cannot.
    """
    made_for, rope_limit = _made_for(config), _rope_limit(config)
    if made_for is not None and wanted > made_for:
        raise ModelError(
            f"{setting} is {wanted}, but {model} was made for {made_for} tokens; "
            f"allowed: up to {context_limit(config)}"
        )
    if rope_limit is not None and wanted > rope_limit:
        raise ModelError(
            f"{setting} is {wanted}, but the RoPE of {model} (longrope) changes where a text of a "
            f"batch has more than {rope_limit} tokens, and log-probabilities with it; "
            f"allowed: up to {rope_limit}"
        )


def _made_for(config: PreTrainedConfig) -> int | None:
    text = config.get_text_config(decoder=True)
    found = (getattr(text, name, None) for name in _NAMES)
    return next((number for number in found if isinstance(number, int) and number > 0), None)


def _rope_limit(config: PreTrainedConfig) -> int | None:
    text = config.get_text_config(decoder=True)
    rope = getattr(text, "rope_parameters", None) or {}
    by_layer = [part for part in rope.values() if isinstance(part, dict)]
    lengths = [
        int(part["original_max_position_embeddings"])
        for part in (by_layer or [rope])
        if part.get("rope_type") == "longrope"
    ]
    return min(lengths, default=None)
