"""``rlef plan`` and ``rlef export``: what they print and write, and one line for what is wrong."""

import json
from pathlib import Path

import pytest
import torch

from rlef.cli.main import main
from rlef.engines.load import load_model, load_tokenizer
from rlef.learner.checkpoint import save_policy
from rlef.learner.config import LearnerConfig
from rlef.learner.update import LocalLearner
from rlef.run import RunFolder

Printed = pytest.CaptureFixture[str]


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    return int(caught.value.code or 0)


def test_a_plan_needs_no_weights(tmp_path: Path, capsys: Printed) -> None:
    config = {
        "model_type": "qwen2", "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "tie_word_embeddings": True, "max_position_embeddings": 8192,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = ["plan", "paper-8b", f"model={tmp_path}", "learner.minibatch=128"]
    words += ["rollout.engine=hf", "rollout.max_staleness=0"]
    assert run(*words, "--gpu-memory", "24") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("0.000213 B parameters, on a GPU of 24.0 GB")
    assert lines[2].split()[1:4] == ["sampling", "scoring", "policy"]
    assert any(line.startswith("largest micro-batch: ") for line in lines)
    assert any("rows of 8,192 (rollout.hf.kv_memory_gb up to" in line for line in lines)
    assert lines[-1] == "it fits"
    assert run(*words, "--gpu-memory", "4", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert not facts["fits"] and facts["change"] and facts["parameters"] == 212_544
    parts = facts["phases"]["policy step"]
    assert parts["total"] == sum(size for name, size in parts.items() if name != "total")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "no recipe 'nothing'"),
        (["mini", "model=nowhere/at-all/x"], "no folder 'nowhere/at-all/x'"),
        (["mini", "learner.rank=2"], "unknown key learner.rank"),
        (["learner.lr=1"], "'learner.lr=1' is a setting; allowed: a recipe before it"),
        (["mini", "--gpu-memory", "much"], "Input should be a valid number"),
        (["mini", "--gpu-memory", "0"], "greater than or equal to 0.001"),
        (["mini", "--gpu-memory", "nan"], "--gpu-memory"),
        (["mini", "--gpu-memory", "inf"], "--gpu-memory"),
        (["mini", "--gpu-memory", "24", "--card", "none"], "--card is of --gpus"),
        (["mini", "--assume", "none"], "--assume is of --gpus"),
    ],
)
def test_what_is_wrong_with_a_plan_is_one_line(
    words: list[str], message: str, capsys: Printed
) -> None:
    if "--gpu-memory" not in words:
        words = [*words, "--gpu-memory", "8"]
    assert run("plan", *words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gpus", "0x80"], "--gpus is '0x80'; allowed: GPUs x GB of each, such as 8x80"),
        (["--gpus", "8x0"], "--gpus is '8x0'; allowed: GPUs x GB of each, such as 8x80"),
        (["--gpus", "8y80"], "--gpus is '8y80'; allowed: GPUs x GB of each, such as 8x80"),
        (["--gpus", "8x80", "device=cpu"], "device is cpu, but --gpus plans GPUs"),
        (["--gpus", "8x80", "--gpu-memory", "80"], "both say what there is; allowed: one"),
        (["--gpus", "8x80", "--card", "tpu"], "--card is 'tpu'; allowed: a100, h100, h200"),
        (["--gpus", "8x80", "--assume", "luck=2"], "--assume: no assumption 'luck'; allowed: "),
        (["--gpus", "8x80", "cluster.learner_ranks=9"], "asks for 10 GPUs"),
        (["--gpus", "8x80", "cluster.learner_ranks=0"], "greater than or equal to 1"),
        (["--gpus", "8x80", "cluster.colocate=true", "rollout.max_staleness=1"], "colocate is"),
    ],
)
def test_what_is_wrong_with_a_cluster_is_one_line(
    words: list[str], message: str, capsys: Printed
) -> None:
    device = [] if "device=cpu" in words else ["device=cuda"]
    assert run("plan", "mini", *device, *words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_plan_of_a_cluster(capsys: Printed) -> None:
    words = ["mini", "device=cuda", "rollout.max_staleness=1", "--gpus", "2x2x8"]
    words += ["--card", "a100", "--assume", "answer_tokens=60,prompt_tokens=300"]
    assert run("plan", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("0.00212 B parameters, on 2 nodes of 2 GPUs of 8.0 GB")
    assert "rollout actor" in lines[2] and "learner rank" in lines[2]
    assert any(line.strip().startswith("together") and "slowest: " in line for line in lines)
    assert any(line.startswith("assumed of a GPU (a100): flops 3.12e+14") for line in lines)
    assert "it fits" in lines and "cluster.address=auto" in " ".join(lines)


def test_counts_of_a_recipe_give_way_and_those_of_the_command_do_not(
    capsys: Printed, tmp_path: Path
) -> None:
    recipe = tmp_path / "large.yaml"
    recipe.write_text(
        "name: large\nmodel: mini\ndevice: cuda\ndata: {train: mini:train, test: mini:valid}\n"
        "rollout: {max_staleness: 1, judge_workers: 4}\n"
        "cluster: {rollout_actors: 2, learner_ranks: 30}\n"
    )
    assert run("plan", str(recipe), "--gpus", "1x4x8") == 0
    said = capsys.readouterr()
    assert "the recipe asks for more than 4 GPUs: they are shared out anew\n" in said.err
    assert "it fits\n" in said.out and " cluster.learner_ranks=1 " in said.out
    assert run("plan", str(recipe), "cluster.learner_ranks=7", "--gpus", "1x4x8") == 2
    assert "asks for 9 GPUs (cluster.rollout_actors=2" in capsys.readouterr().err
    words = ["cluster.rollout_actors=1", "cluster.learner_ranks=1"]
    assert run("plan", str(recipe), *words, "--gpus", "1x4x8") == 0
    assert "; 2 GPUs left over\n" in capsys.readouterr().out
    recipe.write_text(recipe.read_text().replace("learner_ranks: 30", "judge_actors: 9"))
    recipe.write_text(recipe.read_text().replace("rollout_actors: 2", "rollout_actors: 20"))
    assert run("plan", str(recipe), "--gpus", "1x4x8") == 0
    assert " cluster.judge_actors=0 rollout.judge_workers=" in capsys.readouterr().out
    words = ["cluster.judge_actors=2", "rollout.judge_workers=7"]
    assert run("plan", str(recipe), *words, "--gpus", "1x4x8") == 0
    assert ", 14 cores that judge" in capsys.readouterr().out


@pytest.mark.slow
def test_a_plan_of_a_cluster_for_programs(capsys: Printed) -> None:
    words = ["mini", "device=cuda", "rollout.max_staleness=1", "--gpus", "4x8"]
    assert run("plan", *words, "--assume", "answer_tokens=60", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["fits"] and facts["assumed"]["workload"]["answer_tokens"] == 60
    assert facts["split"]["gpus"] <= 4 and facts["batch_s"] >= facts["seconds"]["weights"]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with a checkpoint of adapters that are not 0."""
    model = load_model("mini", "cpu")
    config = LearnerConfig(lora={"rank": 2}, advantage="rloo")  # type: ignore[arg-type]
    learner = LocalLearner(model, config, seed=0, tokenizer=load_tokenizer("mini"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B" in name:
                parameter.fill_(1e-2)
    found = RunFolder.create(tmp_path_factory.mktemp("run") / "one", "name: one\n")
    folder = found.new_checkpoint()
    learner.save(folder)
    found.commit_checkpoint(folder, 3)
    return found


def test_a_run_of_adapters_is_exported_whole(
    adapters: RunFolder, tmp_path: Path, capsys: Printed
) -> None:
    checkpoint, out = str(adapters.path / "checkpoints" / "update-000003"), tmp_path / "out"
    assert run("export", str(adapters.path), "--to", str(out), "--dtype", "float32") == 0
    assert f"parameters in float32, of {checkpoint}" in capsys.readouterr().out
    assert not (out / "adapter_config.json").exists()
    whole, merged = load_model(str(out), "cpu"), load_model(checkpoint, "cpu")
    plain = load_model("mini", "cpu")
    pairs = zip(whole.parameters(), merged.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    pairs = zip(whole.parameters(), plain.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)
    assert load_tokenizer(str(out)).chat_template == load_tokenizer("mini").chat_template
    assert run("export", str(adapters.path), "--to", str(out)) == 2
    assert "is in use; allowed: a new or an empty folder" in capsys.readouterr().err
    rounded = tmp_path / "rounded"
    assert run("export", checkpoint, "--to", str(rounded)) == 0
    assert load_model(str(rounded), "cpu", "auto").dtype is torch.bfloat16  # type: ignore[arg-type]


def test_adapters_are_exported_as_they_are(
    adapters: RunFolder, tmp_path: Path, capsys: Printed
) -> None:
    checkpoint, out = adapters.path / "checkpoints" / "update-000003", tmp_path / "out"
    assert run("export", str(adapters.path), "--adapters", "--to", str(out)) == 0
    assert "adapters in float32, of " in capsys.readouterr().out
    assert {"README.md", "adapter_config.json", "adapter_model.safetensors", "rlef"} <= {
        path.name for path in out.iterdir()
    }
    assert not (out / "model.safetensors").exists() and not (out / "learner").exists()
    pairs = zip(
        load_model(str(out), "cpu").parameters(),
        load_model(str(checkpoint), "cpu").parameters(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)
    card = (out / "README.md").read_text()
    assert "library_name: peft" in card and "This policy was not evaluated." in card


def test_what_cannot_be_exported_is_one_line(tmp_path: Path, capsys: Printed) -> None:
    empty = RunFolder.create(tmp_path / "empty", "name: empty\n")
    for words, message in (
        (
            [str(empty.path), "--to", "x"],
            "has no checkpoint yet; allowed: a run with one, or a model",
        ),
        ([str(tmp_path / "no" / "such" / "thing"), "--to", "x"], "no folder"),
        (["mini", "--to", "x", "--dtype", "int8"], "--dtype is 'int8'; allowed: bfloat16, float32"),
    ):
        target = [str(tmp_path / word) if word == "x" else word for word in words]
        assert run("export", *target) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
        assert not (tmp_path / "x").exists()


def test_adapters_are_evaluated_by_their_folder(
    adapters: RunFolder, tmp_path: Path, capsys: Printed
) -> None:
    checkpoint = str(adapters.path / "checkpoints" / "update-000003")
    words = ["eval", checkpoint, "--data", "mini:test", "--prompts", "mini", "--limit", "1"]
    words += ["--turns", "1", "--max-new-tokens", "4", "--out", str(tmp_path / "eval")]
    assert run(*words) == 0
    assert (tmp_path / "eval" / "summary.json").is_file()


def test_a_whole_model_is_no_folder_of_adapters(tmp_path: Path) -> None:
    save_policy(load_model("mini", "cpu"), load_tokenizer("mini"), tmp_path)
    assert not (tmp_path / "adapter_config.json").exists()
