from collections import Counter
from pathlib import Path
from random import Random

import pytest
from safetensors.torch import load_file
from scipy.stats import chisquare

import rlef
from rlef.engines.load import load_model, load_tokenizer
from rlef.environment import ChatFormat, Prompts
from rlef.learner.head import check_output_head
from rlef.problems.mini import fresh_specimens, load_split
from rlef.sandbox import Sandbox
from rlef.train import dialogues
from rlef.train.dialogues import DialogueWriter, draw_attempt, to_tokens
from rlef.train.warmstart import run_warmstart
from rlef.train.warmstart_config import WarmstartConfig

TINY = WarmstartConfig(parts=1, problems_per_topic=4, vocab_size=400, batch_tokens=1024)


def test_attempts_at_a_hidden_detail_are_drawn_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogues, "MISTAKE", 0)
    specimen = next(s for s in fresh_specimens(0, 3) if s.disclosure == "hidden")
    rng = Random(0)
    counts = Counter(draw_attempt(specimen, rng) for _ in range(100 * len(specimen.programs)))
    assert set(counts) == set(specimen.programs)
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_a_second_attempt_does_not_depend_on_the_feedback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogues, "LATER_TURNS", 1)
    monkeypatch.setattr(dialogues, "MISTAKE", 0)
    specimens = [s for s in fresh_specimens(0, 60) if s.disclosure == "hidden"]
    right = expected = total = 0.0
    with Sandbox(workers=1) as sandbox:
        written = DialogueWriter(Prompts.load("mini"), 3, sandbox).write(specimens, seed=0)
        for specimen, texts in zip(specimens, written, strict=True):
            for answer in texts[3::2]:
                right += specimen.problem.solutions[0] in answer
                expected += 1 / len(specimen.programs)
                total += 1
    assert total > 200
    assert abs(right - expected) < 4 * expected**0.5


def test_dialogues_are_true_to_the_episode_and_to_the_tokenizer() -> None:
    specimens = fresh_specimens(1, 6)
    chat = ChatFormat(load_tokenizer("mini"))
    with Sandbox(workers=1) as sandbox:
        for texts in DialogueWriter(Prompts.load("mini"), 3, sandbox).write(specimens, seed=1):
            assert len(texts) % 2 == 0 and len(texts) <= 6
            assert all("Try again." in message for message in texts[2::2])
            conversation = to_tokens(texts, chat)
            for turn, answer in enumerate(texts[1::2]):
                ids = [
                    token
                    for token, t in zip(conversation.token_ids, conversation.turn_ids, strict=True)
                    if t == turn
                ]
                assert chat.decode(ids) == answer and ids[-1] == chat.end_of_turn


def test_warm_start_problems_are_in_no_test_split() -> None:
    fresh = {s.problem.statement for part in range(3) for s in fresh_specimens(part, 100)}
    for split in ("valid", "dev", "test"):
        assert not fresh & {problem.statement for problem in load_split(split)}


def test_the_warm_start_makes_a_loadable_model_and_the_same_one_again(tmp_path: Path) -> None:
    lines: list[str] = []
    for name in ("one", "two"):
        run_warmstart(TINY, tmp_path / name, lines.append)
    assert lines[0].startswith("28 dialogues, ")
    one, two = (load_file(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    assert one.keys() == two.keys() and all(one[key].equal(two[key]) for key in one)
    model = load_model(str(tmp_path / "one"), "cpu")
    check_output_head(model)
    assert model.config.vocab_size == len(load_tokenizer(str(tmp_path / "one"))) == 400


def test_the_shipped_model_is_small_and_of_the_promised_kind() -> None:
    model = load_model("mini", "cpu")
    assert type(model).__name__ == "LlamaForCausalLM"
    assert 2e6 <= model.num_parameters() <= 8e6
    folder = Path(rlef.__file__).parent / "assets" / "mini"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12e6
