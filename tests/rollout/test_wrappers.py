"""Episodes as a study changes them: other first answers, examples before the first message."""

from scripted import RIGHT, WRONG, ScriptedEngine, make_chat, plain, run
from test_rollout_batch import make_rollout

from rlef.environment import ChatFormat
from rlef.rollout import RolloutBatch, derive_seed
from rlef.sandbox import Sandbox
from rlef.study.wrappers import FirstTurnEngine, after_first_turn


def test_first_answers_are_the_first_engines(chat: ChatFormat, sandbox: Sandbox) -> None:
    first = ScriptedEngine(chat, lambda *_: WRONG, concurrency=3)
    then = ScriptedEngine(chat, lambda *_: RIGHT, concurrency=3)
    then.version = 5
    both = FirstTurnEngine(first, then)
    both.chat = chat  # type: ignore[attr-defined]
    rollouts = run(both, sandbox, 8)  # type: ignore[arg-type]
    for rollout in rollouts:
        assert [turn.response for turn in rollout.record.turns] == [WRONG, RIGHT]
        assert rollout.record.solved and rollout.policy_versions.tolist() == [0, 5]
    for engine, turn in ((first, 0), (then, 1)):
        seeds = [[seed for _, seed in call] for call in engine.calls]
        groups = [range(3), range(3, 6), range(6, 8)]
        assert seeds == [[derive_seed(s, "answer", turn) for s in group] for group in groups]


def test_an_episode_that_the_first_engine_ends_leaves_both(
    chat: ChatFormat, sandbox: Sandbox
) -> None:
    first = ScriptedEngine(chat, lambda *_: RIGHT, concurrency=2)
    then = ScriptedEngine(chat, lambda *_: RIGHT, concurrency=2)
    both = FirstTurnEngine(first, then)
    both.chat = chat  # type: ignore[attr-defined]
    assert len(run(both, sandbox, 5)) == 5 and then.calls == []  # type: ignore[arg-type]
    assert plain(run(both, sandbox, 5)) == plain(run(first, sandbox, 5))  # type: ignore[arg-type]


def test_examples_stand_before_the_first_message(chat: ChatFormat, sandbox: Sandbox) -> None:
    told = chat.with_examples([("One?", "1."), ("Two?", "2.")])
    engine = ScriptedEngine(told, lambda _, turn: [WRONG, RIGHT][turn - 2])
    [rollout] = run(engine, sandbox)
    [(prompt, _)] = engine.calls[0]
    words = "<|user|>One?<|end|><|assistant|>1.<|end|><|user|>Two?<|end|><|assistant|>2.<|end|>"
    assert chat.tokenizer.decode(prompt, clean_up_tokenization_spaces=False).startswith(words)
    assert rollout.record.solved and rollout.prompt_ends[0] == len(prompt) - 1
    assert chat.prompt_ids("x") == make_chat().prompt_ids("x")


def test_a_rollout_after_its_first_turn() -> None:
    whole = make_rollout(3)
    later = after_first_turn(whole)
    assert later.token_ids is whole.token_ids
    assert later.turn_ids.tolist() == [-1] * 8 + [0, 0] + [-1] * 3 + [1, 1]
    assert later.prompt_ends.tolist() == [7, 12] and later.rewards.tolist() == [0, -1]
    assert later.logprobs.tolist() == [0] * 8 + [-1, -1] + [0] * 3 + [-1, -1]
    assert later.trainable
    batch = RolloutBatch.from_rollouts([later], num_turns=3)
    assert batch.action_mask.sum() == 4 and batch.turn_mask.tolist() == [[True, True, False]]
    assert not after_first_turn(make_rollout(1)).trainable
