"""The page of a run: what it holds, what it leaves out, and that it cannot load or run anything."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from asking import Asker
from made_runs import HOSTILE, lines, make_evaluation, make_training, record

from rlef.run import RunDamagedError, RunFolder
from rlef.view.page import write_report
from rlef.view.snapshot import Bounds, _rounded, _thinned


class Tags(HTMLParser):
    """What a page would load, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        self.scripts += tag == "script"


def held(page: Path) -> dict[str, Any]:
    """The snapshot of a page."""
    found = re.search(r'id="snapshot">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def answer(found: dict[str, Any], path: str, **words: Any) -> Any:
    asked = {key: str(word) for key, word in words.items()}
    return next(
        one["value"]
        for one in found["answers"]
        if one["path"] == path and asked.items() <= one["words"].items()
    )


def write(folder: Path, out: Path, **bounds: int) -> dict[str, Any]:
    write_report(folder, out, bounds=Bounds(**bounds))
    return held(out)


def test_a_page_holds_what_the_viewer_answers(shown: Path, tmp_path: Path, ask: Asker) -> None:
    found = write(shown / "one", tmp_path / "one.html")
    run_id = f"{shown.name}/one"
    assert found["home"] == "one" and found["left_out"] == ["episodes of eval-before"]
    about, said = answer(found, "run"), ask("run", id=run_id)
    assert {**about, "id": 0} == _rounded({**said, "id": 0}, 6)
    assert answer(found, "metrics") == ask("metrics", id=run_id)
    assert answer(found, "verdicts") == _rounded(ask("verdicts", id=run_id), 6)
    pairs = answer(found, "changes")["pairs"]
    there = ask("changes", id=run_id)["pairs"]
    assert [pair["metric"] for pair in pairs] == ["1@1", "1@2", "1@3"]
    assert [pair["better"] for pair in pairs] == [pair["better"] for pair in there]
    for stage in ("train", "eval-before", "eval-after"):
        assert answer(found, "transitions", stage=stage) == ask(
            "transitions", id=run_id, stage=stage
        )
        rows = answer(found, "problems", stage=stage)["rows"]
        there = ask("problems", id=run_id, stage=stage)["rows"]
        assert [row["problem"] for row in rows] == [row["problem"] for row in there]
    one = answer(found, "episode", stage="train", row=16)
    there = ask("episode", id=run_id, stage="train", row=16)
    assert [turn["response"] for turn in one["turns"]] == [t["response"] for t in there["turns"]]
    tokens = one["turns"][0]["tokens"]
    assert tokens["text"] == [token["text"] for token in there["turns"][0]["tokens"]]
    assert [value is not None for value in tokens["logprob"]] == [False] * 5 + [True] * 3


def test_episodes_are_of_every_kind_and_know_their_neighbours(shown: Path, tmp_path: Path) -> None:
    found = write(shown / "one", tmp_path / "one.html", episodes=12)
    lists = {one["stage"]: one for one in found["lists"]}
    assert set(lists) == {"train", "eval-after"} and lists["train"]["of"] == 28
    assert {row["batch"] for row in lists["train"]["rows"]} == {2}
    rows = lists["eval-after"]["rows"]
    kinds = {(row["solved"], row["repaired"]) for row in rows}
    assert len(rows) == 6 and kinds == {(True, True), (True, False), (False, False)}
    names = [row["row"] for row in rows]
    for place, row in enumerate(names):
        one = answer(found, "episode", stage="eval-after", row=row)
        assert one["previous_row"] == (names[place - 1] if place else None)
        assert one["next_row"] == (names[place + 1] if place < 5 else None)


def test_a_page_loads_nothing_and_ends_no_script(tmp_path: Path) -> None:
    run = RunFolder.create(
        tmp_path / "run", json.dumps({"model": HOSTILE, "data": "x", "turns": 3})
    )
    said = f"</script><script>alert(1)</script><!--<script> {HOSTILE}"
    run.append_rollouts("eval", lines([record(said, ["WA", "AC"], said=said)]))
    page = write_report(run.path)
    assert page == run.report_path
    text, tags = page.read_text(), Tags()
    tags.feed(text)
    assert tags.scripts == text.count("</script>") == 3
    assert tags.loads and all(load.startswith("data:image/svg") for load in tags.loads)
    assert "alert(1)</script>" not in text and "<!--" not in text
    assert "default-src 'none'; script-src 'sha256-" in text and "unsafe" not in text[:2000]
    (row,) = held(page)["lists"][0]["rows"]
    assert row["problem"] == said


def test_a_page_stays_small_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    run = make_evaluation(tmp_path / "run", count=60)
    run.append_rollouts("eval", lines([record("long", ["WA"], said="x" * 50_000)]))
    for update in range(100):
        run.append_metrics({"update": update, "kl": update / 3})
    found = write(run.path, tmp_path / "page.html", size=30_000, lines=30, text=1000)
    assert len(json.dumps(found)) < 50_000
    assert answer(found, "metrics")["columns"]["update"] == list(range(3, 100, 4))
    assert any("every 4th" in line for line in found["left_out"])
    assert found["lists"][0]["of"] == 61 and 5 < len(found["lists"][0]["rows"]) < 36
    whole = write(run.path, tmp_path / "page.html", text=1000)
    (row,) = (one["row"] for one in whole["lists"][0]["rows"] if one["problem"] == "long")
    (turn,) = answer(whole, "episode", row=row)["turns"]
    assert turn["cut"] == {"response": 50_002 - 1000} and len(turn["response"]) == 1003
    assert _thinned(range(10), 3) == [0, 3, 6, 9] and _thinned([], 3) == []


def test_the_page_of_a_study_holds_its_runs(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_training(tmp_path / "study" / f"arm-{seed}", batches=5, seed=seed)
    make_evaluation(tmp_path / "study" / "eval")
    (tmp_path / "study" / "study.json").write_text(json.dumps({"claims": []}))
    found = write(tmp_path / "study", tmp_path / "page.html", episodes=9)
    assert found["home"] == "study"
    assert answer(found, "run")["runs"] == ["study/arm-0", "study/arm-1", "study/eval"]
    compared = [one for one in found["answers"] if one["path"] == "compare"]
    assert [one["ids"] for one in compared] == [["study/arm-0", "study/arm-1"]]
    asked = [one["ids"] for one in found["answers"] if one["path"] == "metrics"]
    assert asked == [["study/arm-0"], ["study/arm-1"], ["study/eval"]]
    # the page asks for the first and the last tenth of five batches
    parts = [one["words"] for one in found["answers"] if one["path"] == "transitions"]
    assert {"stage": "train", "from": "0", "to": "0"} in parts
    assert {"stage": "train", "from": "4", "to": "4"} in parts
    assert len([one for one in found["answers"] if one["path"] == "episode"]) > 3


def test_a_damaged_run_has_no_page(tmp_path: Path) -> None:
    run = make_training(tmp_path / "run")
    batch = run.training_path / "batch-000001.parquet"
    batch.write_bytes(batch.read_bytes()[:200])
    with pytest.raises(RunDamagedError, match=r"batch-000001\.parquet is damaged"):
        write_report(run.path)
    assert not run.report_path.exists()
    with pytest.raises(RunDamagedError, match="no such run"):
        write_report(tmp_path)


def test_links_in_a_run_are_followed(tmp_path: Path) -> None:
    run = make_training(tmp_path / "run")
    run.rollouts_path.rename(tmp_path / "elsewhere")
    run.rollouts_path.symlink_to(tmp_path / "elsewhere")
    assert write(run.path, tmp_path / "page.html")["lists"][0]["of"] == 28
