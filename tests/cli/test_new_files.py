"""What a command writes is new and whole, and nothing of the user's is written over."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from rlef.cli import files
from rlef.cli.common import dropped_if_unused
from rlef.cli.files import write_new_file
from rlef.config import ConfigError
from rlef.run import RunError, RunFolder, check_free_folder
from rlef.train import warmstart
from rlef.train.warmstart_config import WarmstartConfig


def test_devices_may_be_written_to(rlef: Any, problems: str) -> None:
    assert rlef("data", "check", problems, "--limit", 1, "--out", "/dev/null").code == 0
    code, out, _ = rlef("data", "check", problems, "--limit", 1, "--out", "/dev/stdout")
    assert code == 0
    assert json.JSONDecoder().raw_decode(out)[0]["problems"] == 1


def test_what_another_program_wrote_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("theirs")
    with pytest.raises(RuntimeError, match="has been made by another program mean") as e:
        write_new_file(path, "ours")
    assert path.read_text() == "theirs"
    assert Path(str(e.value).rpartition(" ")[2]).read_text() == "ours"


def test_a_full_disk_names_the_file_and_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, text: str, **_: object) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_new_file(tmp_path / "out.json", "ours")
    assert caught.value.filename == str(tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(files.os, "link", no_links)
    write_new_file(tmp_path / "out.json", "ours")
    assert (tmp_path / "out.json").read_text() == "ours"
    with pytest.raises(RuntimeError, match="by another program"):
        write_new_file(tmp_path / "out.json", "more")


@pytest.mark.parametrize("what", ["model", "run", "file"])
def test_a_warm_start_needs_a_folder_of_its_own(tmp_path: Path, what: str) -> None:
    out = tmp_path / "models"
    if what == "file":
        out.write_text("mine")
    elif what == "run":
        RunFolder.create(out, "seed: 0\n")
    else:
        out.mkdir()
        (out / "model.safetensors").write_text("mine")
    with pytest.raises(RunError, match="allowed: a new or an empty folder"):
        warmstart.run_warmstart(WarmstartConfig(), out, print)


def test_a_pipe_with_a_name_is_written_to(rlef: Any, problems: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    end = os.open(tmp_path / "pipe.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    assert rlef("data", "write", problems, tmp_path / "pipe.jsonl").code == 0
    assert len(os.read(end, 65536).splitlines()) == 2
    os.close(end)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe.jsonl", "problems.jsonl"]


def test_what_a_library_says_of_a_full_disk_becomes_the_systems_words(tmp_path: Path) -> None:
    full = pytest.raises(OSError, match=r"No space left on device: '")
    with full as caught, files.new_file(tmp_path / "a.parquet"):
        raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space")
    assert caught.value.strerror == os.strerror(errno.ENOSPC)


def test_two_files_at_once_have_drafts_of_their_own(tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    with files.new_file(one) as first, files.new_file(two) as second:
        first.write_text("first")
        second.write_text("second")
    assert (one.read_text(), two.read_text()) == ("first", "second")
    assert sorted(tmp_path.iterdir()) == [one, two]


@pytest.mark.parametrize("links", [True, False])
def test_a_draft_that_is_gone_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuses)
    with pytest.raises(FileNotFoundError), files.new_file(tmp_path / "a.json"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_config_by_hand_is_never_replaced(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "seed: 0\n")
    assert run.is_untouched()
    (run.path / "notes.txt").write_text("mine")
    assert not run.is_untouched()
    run.discard_if_untouched()
    assert run.is_run()


def test_a_run_that_goes_away_takes_only_new_and_empty_folders_along(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    first = RunFolder.create(tmp_path / "mine" / "runs" / "one", "seed: 0\n")
    second = RunFolder.create(tmp_path / "mine" / "runs" / "two", "seed: 0\n")
    first.discard_if_untouched()
    assert not first.path.exists() and second.path.exists()
    second.discard_if_untouched()
    assert first.path.parent.exists()  # it was there when the second began
    third = RunFolder.create(tmp_path / "mine" / "new" / "runs" / "three", "seed: 0\n")
    third.discard_if_untouched()
    assert not (tmp_path / "mine" / "new").exists() and (tmp_path / "mine").exists()


def test_a_run_goes_away_only_if_it_is_new_empty_and_its_words_were_wrong(tmp_path: Path) -> None:
    def fail(error: Exception, *, is_new: bool, begun: bool) -> bool:
        run = RunFolder.create(tmp_path / "runs" / f"{len(list(tmp_path.iterdir()))}", "seed: 0\n")
        if begun:
            run.append_rollouts("eval", [{"place": 0}])
        with pytest.raises(type(error)), dropped_if_unused(run, is_new=is_new):
            raise error
        there = run.path.exists()
        if there:
            run.path.rename(tmp_path / f"kept-{len(list(tmp_path.iterdir()))}")
        return there

    assert not fail(ConfigError("x"), is_new=True, begun=False)
    assert fail(ConfigError("x"), is_new=True, begun=True)
    assert fail(ConfigError("x"), is_new=False, begun=False)
    assert fail(KeyError("x"), is_new=True, begun=False)


def test_hidden_files_do_not_fill_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    check_free_folder(tmp_path)
    check_free_folder(tmp_path / "new" / "newer")
    (tmp_path / "x").touch()
    with pytest.raises(RunError, match="is in use"):
        check_free_folder(tmp_path)
    with pytest.raises(RunError, match="is a file, or stands in one"):
        check_free_folder(tmp_path / "x" / "y")
