import re
from html.parser import HTMLParser
from typing import Any

from synthetic_run import make_rollout

from rlef.report.page import choose_rollouts, write_report
from rlef.run import RunFolder


class Tags(HTMLParser):
    """Checks that tags are closed and collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def test_page_of_a_finished_run(run: RunFolder, summary: dict[str, Any]) -> None:
    run.write_summary(summary)
    path = write_report(run)
    assert path == run.report_path
    page = path.read_text(encoding="utf-8")
    tags = parse(page)
    assert tags.seen.count("details") == 20 + 1
    assert "20 of 40 episodes" in page
    assert "<td>63.5 ±3.0</td>" in page
    assert "<tr><td>generate</td><td>300.0</td><td>44</td></tr>" in page
    assert "name: &lt;mini&gt;" in page


def test_page_loads_nothing_and_runs_nothing(run: RunFolder, summary: dict[str, Any]) -> None:
    run.write_summary(summary)
    page = write_report(run).read_text(encoding="utf-8")
    tags = parse(page)
    assert all(load.startswith("data:image/png;base64,") for load in tags.loads)
    assert "script" not in tags.seen
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"https?://|@import|url\(", page)


def test_dialogue_shows_turns_verdicts_and_feedback(run: RunFolder) -> None:
    run.write_rollouts("eval-after", [make_rollout("p1", solved=True, turns=2)])
    page = write_report(run).read_text(encoding="utf-8")
    assert page.count("the model</p>") == 2
    wrong = '<span class="verdict good">AC</span> <span class="verdict">WA</span>'
    assert f"public tests: {wrong}</p>" in page
    assert "Test 2: expected &lt;3&gt;, got ?" in page
    assert "p1 · 2 turns · public passed · hidden detail: rounding" in page


def test_page_of_an_unfinished_run(run: RunFolder) -> None:
    run.rollout_path("eval-after").unlink()
    page = write_report(run).read_text(encoding="utf-8")
    parse(page)
    assert "Run, not finished" in page
    assert "3 of 3 episodes in" in page
    assert "rollouts/train/batch-000000.parquet" in page
    (run.training_path / "batch-000000.parquet").unlink()
    page = write_report(run).read_text(encoding="utf-8")
    assert "2 of 2 episodes in" in page
    assert "rollouts/train/pending.bin" in page


def test_choice_mixes_repaired_failed_and_solved_at_once() -> None:
    records = [make_rollout(f"at once {i}", solved=True, turns=1) for i in range(9)]
    records += [make_rollout("failed", solved=False, turns=3)]
    records += [make_rollout("repaired", solved=True, turns=2)]
    names = [record["problem"] for record in choose_rollouts(records, 4)]
    assert names == ["repaired", "failed", "at once 0", "at once 1"]
    assert choose_rollouts([], 4) == []
