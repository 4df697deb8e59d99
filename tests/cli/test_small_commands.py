import json
import os
import subprocess
import sys
import threading
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import rlef as package
from rlef.run import RunFolder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a folder with one recipe in place of the shipped ones."""
    folder = tmp_path / "package" / "recipes"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text("# learns nothing\nupdates: 1\n")
    monkeypatch.setattr("rlef.config.recipes.files", lambda name: tmp_path / "package")
    return folder


def test_version(rlef: Any) -> None:
    assert rlef("--version") == (0, f"rlef {package.__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        *([], ["train"], ["eval"], ["judge"], ["report"], ["env"], ["data"], ["data", "show"]),
        ["data", "check"],
        *(["recipe"], ["recipe", "ls"], ["recipe", "cp"]),
    ],
)
def test_every_command_has_help(rlef: Any, words: list[str]) -> None:
    code, out, err = rlef(*words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: {' '.join(['rlef', *words])} ")


def test_unknown_command_exits_with_2(rlef: Any) -> None:
    code, out, err = rlef("trian")
    assert (code, out) == (2, "")
    assert "No such command 'trian'" in err


def test_report_of_a_run(rlef: Any, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "one", "seed: 0\n")
    code, out, err = rlef("report", run.path)
    assert (code, out) == (0, f"{run.report_path}\n")
    assert err == f"not finished; go on with: rlef train {run.path}\n"
    assert run.report_path.is_file()


def test_a_page_is_written_into_a_pipe_and_not_over_it(rlef: Any, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "one", "seed: 0\n")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pages: list[str] = []
    reader = threading.Thread(target=lambda: pages.append(pipe.read_text()), daemon=True)
    reader.start()
    assert rlef("report", run.path, "--out", pipe).code == 0
    reader.join(timeout=30)
    assert pages[0].startswith("<!doctype html>")
    assert pipe.is_fifo() and not run.report_path.exists()


def test_report_without_a_run(rlef: Any, tmp_path: Path) -> None:
    code, _, err = rlef("report", tmp_path / "none")
    assert code == 2
    assert err == f"rlef: {tmp_path}/none does not exist; allowed: the folder of a run\n"


def test_report_of_a_damaged_run(rlef: Any, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "one", "seed: 0\n")
    run.metrics_path.write_text("{\n{}\n")
    code, _, err = rlef("report", run.path)
    assert code == 1
    assert err.startswith(f"rlef: {run.metrics_path}:1 is damaged: ")


def test_data_show_prints_public_tests_only(rlef: Any, problems: str) -> None:
    code, out, err = rlef("data", "show", problems)
    assert (code, err) == (0, f"1 of 2 problems in {problems}\n")
    assert out.startswith("=== double\nmode stdin · checker tokens · 1 public, 2 private tests\n")
    assert "--- public test 1: input\n2\n--- public test 1: output\n4\n" in out
    assert "14" not in out
    _, out, _ = rlef("data", "show", problems, "--problem", "add")
    assert out.startswith("=== add\nmode function · checker tokens · function add · 1 public")
    _, out, _ = rlef("data", "show", problems, "--limit", 5)
    assert out.count("===") == 2


def test_data_show_of_an_unknown_problem(rlef: Any, problems: str) -> None:
    code, _, err = rlef("data", "show", problems, "--problem", "ad")
    assert code == 2
    assert "did you mean 'add'?" in err


def test_recipes_are_listed_with_their_first_line(rlef: Any, shipped: Path) -> None:
    code, out, _ = rlef("recipe", "ls")
    assert (code, out.split()) == (0, ["tiny", "learns", "nothing"])


def test_recipe_is_copied_but_never_over_a_file(rlef: Any, shipped: Path, tmp_path: Path) -> None:
    code, out, _ = rlef("recipe", "cp", "tiny", tmp_path / "my.yaml")
    assert (code, out) == (0, f"{tmp_path}/my.yaml        next: rlef train {tmp_path}/my.yaml\n")
    assert (tmp_path / "my.yaml").read_text() == (shipped / "tiny.yaml").read_text()
    code, _, err = rlef("recipe", "cp", "tiny", tmp_path / "my.yaml")
    assert code == 2
    assert "my.yaml exists; allowed: a new file" in err
    assert rlef("recipe", "cp", "tiny", tmp_path).code == 0
    assert (tmp_path / "tiny.yaml").is_file()


def test_a_copy_of_the_name_of_a_recipe_is_trained_by_its_path(
    rlef: Any, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = rlef("recipe", "cp", "tiny", "tiny")
    assert (code, out) == (0, "tiny        next: rlef train ./tiny\n")


def test_unknown_recipe_gets_a_suggestion(rlef: Any, shipped: Path, tmp_path: Path) -> None:
    code, _, err = rlef("recipe", "cp", "tinny", tmp_path / "my.yaml")
    assert code == 2
    assert err.startswith("rlef: no recipe 'tinny' (did you mean tiny?); allowed: ")


def test_env_tells_versions_and_that_the_judge_works(rlef: Any) -> None:
    code, out, err = rlef("env", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts["rlef"] == package.__version__
    assert facts["judge"].startswith("works; ")
    assert {"python", "cpus", "torch", "transformers", "gpus"} < facts.keys()


def test_recipes_of_the_repository_are_the_shipped_ones() -> None:
    root = Path(__file__).parents[2]
    assert (root / "recipes").resolve() == Path(str(resources.files("rlef") / "recipes")).resolve()


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["report", "/nowhere"], 2)])
def test_exit_status_of_the_process(words: list[str], code: int) -> None:
    command = [sys.executable, "-m", "rlef.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert (done.stdout + done.stderr).count("\n") == 1


def test_help_for_settings(rlef: Any) -> None:
    code, out, err = rlef("train", "--help-settings", "judge_workers")
    assert (code, err) == (0, "") and out.startswith("rollout.judge_workers  (integer)\n")
    assert "    default 2; allowed: 1 or more\n" in out
    assert rlef("train", "--help-settings", "xyzzy").code == 2
    assert "allowed: one word" in rlef("train", "--help-settings", "lr", "clip").err
