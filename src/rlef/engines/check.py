"""Checks at the start of training and evaluation: one line that says what is wrong, or it works."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedModel

from rlef.engines.fresh import gap_limit
from rlef.engines.hf import HFEngine
from rlef.engines.types import ModelError, SamplingParams

if TYPE_CHECKING:
    from rlef.environment import ChatFormat

_PROMPT_LENGTHS, _ANSWER_TOKENS, _NEXT_LENGTHS = (3, 17, 8), 4, (9, 1, 4)
_COARSE_LIMIT = 0.3
"""Nats; of a few random tokens in 16 bits, where a refusal must not come from rounding."""
_CHECKED_TOKENS = max(_PROMPT_LENGTHS) + 2 * _ANSWER_TOKENS + max(_NEXT_LENGTHS)


def check_vocabulary(model: PreTrainedModel, chat: "ChatFormat", name: str) -> None:
    """Makes sure that a model has an embedding of every token that a prompt can hold.

    Special tokens beyond the embedding are let pass where the template does not use them: some
    models have those for images. Rows of the embedding beyond the tokenizer are common, and let
    pass as well.

    Raises:
        ModelError: It has not.
    """
    embedding: Any = model.get_input_embeddings()
    rows = int(embedding.weight.shape[0])
    tokenizer: Any = chat.tokenizer
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    used = {*tokenizer.get_vocab().values()} - special
    used |= chat.template_ids()
    if max(used) >= rows:
        token = tokenizer.convert_ids_to_tokens(max(used))
        raise ModelError(
            f"{name}: the tokenizer has {token!r} as token {max(used)}, but the model embeds only "
            f"{rows} tokens; allowed: a tokenizer of the model's own, or resized embeddings"
        )


def check_engine(engine: HFEngine, name: str) -> None:
    """Samples two short turns and compares with whole sequences, each alone and without a cache.

    It takes three short forwards and sixteen steps at most, and finds what padding, positions, a
    cache or attention that looks ahead would do to a model; also weights that give no numbers.

    Raises:
        ModelError: It cannot be run so, or the log-probabilities differ or are not finite.
    """
    if engine.max_context <= _CHECKED_TOKENS:
        return
    kind = type(engine.model).__name__
    try:
        gap = _gap(engine)
    except Exception as error:  # models raise what they like where they cannot be run so
        words = " ".join(str(error).split())[:150]
        raise ModelError(
            f"{name}: {kind} cannot be sampled ({type(error).__name__}: {words}); allowed: causal "
            "models of text that run with a cache of transformers"
        ) from None
    if not np.isfinite(gap):
        raise ModelError(f"{name}: its log-probabilities are not finite; allowed: finite weights")
    limit = gap_limit(float32=True) if engine.dtype == torch.float32 else _COARSE_LIMIT
    if gap > limit:
        raise ModelError(
            f"{name}: {kind} gives other log-probabilities token by token than for whole "
            f"sequences, by {gap:.2g} nats (allowed: {limit:g}), so it cannot be sampled as it is; "
            "allowed: causal models that transformers can pad and cache"
        )


def _gap(engine: HFEngine) -> float:
    """Returns the mean difference over all sampled tokens, in nats."""
    rng = np.random.default_rng(0)
    count = min(int(engine.model.config.get_text_config().vocab_size), 1000)
    rows = [rng.integers(count, size=length).tolist() for length in _PROMPT_LENGTHS]
    sampled: list[dict[int, float]] = [{} for _ in rows]
    params = SamplingParams(max_new_tokens=_ANSWER_TOKENS)
    engine.clear_cache()
    try:
        for lengths in (_NEXT_LENGTHS, (0, 0, 0)):
            answers = engine.generate_batch(rows, params, range(len(rows)))
            for row, found, answer, length in zip(rows, sampled, answers, lengths, strict=True):
                found.update(enumerate(answer.logprobs, start=len(row)))
                row += [*answer.token_ids, *rng.integers(count, size=length).tolist()]
    finally:
        engine.clear_cache()
    gaps = []
    for row, found in zip(rows, sampled, strict=True):
        with engine.computing():
            whole = _logprobs(engine.model, row)
        gaps += [abs(logprob - whole[place]) for place, logprob in found.items()]
    return float(np.mean(gaps))


@torch.inference_mode()
def _logprobs(model: PreTrainedModel, ids: list[int]) -> list[float]:
    """Returns the log-probability of each token given those before it; of the first it is 0."""
    was_training = model.training
    model.train(False)
    try:
        logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[
            0
        ]
    finally:
        model.train(was_training)
    logprobs = logits[:-1].float().log_softmax(-1)
    found = logprobs.gather(1, torch.tensor(ids[1:], device=model.device)[:, None])[:, 0]
    return [0.0, *found.tolist()]
