"""The viewer in a real browser, beside what stands in the run folders."""

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from browsing import Browser, missing
from made_runs import (
    HOSTILE,
    lines,
    make_evaluation,
    make_training,
    outcome_of,
    record,
    rollout,
    rows_of,
)

from rlef.rollout.ledger import Ledger
from rlef.run import RunFolder
from rlef.view.app import make_app
from rlef.view.folders import Folders
from rlef.view.page import write_report

LACKS = missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(LACKS is not None, reason=LACKS or "")]

MANY = 5_000


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind and state."""
    folder = tmp_path_factory.mktemp("browsed")
    make_training(folder / "one")
    make_training(folder / "two", seed=1)
    make_training(folder / "growing", batches=2, pending=0)
    evaluation = make_evaluation(folder / "evaluated")
    training = RunFolder(folder / "one")
    episodes = evaluation.read_rollouts("eval")
    training.append_rollouts("eval-before", episodes[:20])
    training.append_rollouts("eval-after", episodes[20:])
    hostile = RunFolder.create(
        folder / "hostile", json.dumps({"model": HOSTILE, "data": "jsonl:x", "turns": 2})
    )
    nasty = record(
        "<img src=x onerror=alert(2)>",
        ["WA", "AC"],
        solved=True,
        said=f"```python\n# {HOSTILE}\n```",
    )
    long = record("long", ["WA"], said="x" * 1_000_000)
    hostile.append_rollouts("eval", lines([nasty, long]))
    many = RunFolder.create(
        folder / "many", json.dumps({"model": "mini", "data": "jsonl:x", "turns": 1})
    )
    plain = [record(f"sums/{i}", ["AC"], solved=i % 4 == 0) for i in range(MANY)]
    many.append_rollouts("eval", lines(plain))
    own = RunFolder.create(
        folder / "own", json.dumps({"model": "mini", "data": "jsonl:x", "turns": 1})
    )
    of_own = [("p1", "arith"), ("p10", "arith"), ("p1/x", "text"), ("arith", None)]
    played = [replace(record(name, ["AC"]), family=family) for name, family in of_own]
    own.append_rollouts("eval", lines(played))
    RunFolder.create(folder / "empty", "seed: 0\nupdates: 5\n")
    damaged = make_training(folder / "damaged")
    batch = damaged.training_path / "batch-000001.parquet"
    batch.write_bytes(batch.read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def browser(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    app = make_app(Folders([shown]), tmp_path_factory.mktemp("cache"))
    config = uvicorn.Config(
        app, port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    found = Browser(f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("profile"))
    try:
        yield found
        assert found("errors") == [], "the browser complained"
    finally:
        found.close()
        server.should_exit = True
        thread.join()


def link(shown: Path, name: str, rest: str = "") -> str:
    return f"#/run/{quote(f'{shown.name}/{name}', safe='')}{rest}"


def firsts(row: dict[str, Any]) -> list[str]:
    return [outcome_of(turn["public_verdicts"]) for turn in row["turns"]]


def count(browser: Browser) -> int:
    return int(browser("text", at=".count b").replace(",", ""))


def test_runs_are_listed_with_their_state(browser: Browser, shown: Path) -> None:
    browser.open("")
    rows = browser("texts", at="table.runs tbody tr")
    assert len(rows) == len(list(shown.iterdir())) == 9
    assert "50.0" in next(row for row in rows if "one" in row.split())
    assert any("empty" in row for row in rows)
    browser("fill", at="input[type=search]", value="evaluated")
    browser("wait", until="document.querySelectorAll('table.runs tbody tr').length === 1")
    browser.wait_for("table.runs tbody", "evaluated")


def test_numbers_of_a_run_are_those_of_its_folder(browser: Browser, shown: Path) -> None:
    browser.open(link(shown, "one"))
    run = RunFolder(shown / "one")
    after = run.read_rollouts("eval-after")
    problems = defaultdict(list)
    for line in after:
        if line["stop"] != "infra_error":
            problems[line["problem"]].append(line["solved"])
    rates = [sum(each) / len(each) for each in problems.values()]
    row = next(r for r in browser("texts", at="table.results tbody tr") if "after" in r)
    assert f"{100 * sum(rates) / len(rates):.1f}" in row.replace("\xa0", " ")
    assert row.split("\t")[1].strip() == str(len(after))
    last = run.read_metrics()[-1]
    assert browser("text", at=".tile dd") == str(last["update"])
    browser("wait", until="document.querySelector('.chart canvas')")
    drawn = "[...document.querySelectorAll('.flow svg .name')].map((one) => one.textContent)"
    browser("wait", until=f"{drawn}.length > 0")
    expected: Counter[tuple[int, str]] = Counter()
    for line in after:
        expected.update(enumerate(firsts(line)))
        ended = "unjudged" if line["stop"] == "infra_error" else "failed"
        expected[99, "solved" if line["solved"] else ended] += 1
    names = [(name.replace("none", "no program"), n) for (_, name), n in expected.items()]
    assert sorted(browser("evaluate", script=drawn)) == sorted(f"{name} {n}" for name, n in names)


def test_filters_count_what_the_files_hold(browser: Browser, shown: Path) -> None:
    browser.open(link(shown, "one", "/rollouts?stage=train"))
    rows = rows_of(RunFolder(shown / "one"))
    assert count(browser) == len(rows) + 3  # three are in no batch yet
    browser("select", at="label:has-text('Verdict') select", value="WA")
    browser("select", at="label:has-text('at turn') select", value="1")
    browser("click", at="button:has-text('More')")
    browser("select", at="label:has-text('Used') select", value="taken")
    browser("wait", until="location.hash.includes('status=taken')")
    browser.settle()
    taken = [row for row in rows if row["status"] == "taken"]
    wrong = [row for row in taken if firsts(row)[0] == "WA"]
    assert count(browser) == len(wrong)
    assert "verdict=WA&turn=1" in browser("hash")
    browser("select", at="label:has-text('Result') select", value="repaired")
    browser("wait", until="location.hash.includes('repaired=1')")
    browser.settle()
    repaired = [row for row in wrong if row["solved"] and len(row["turns"]) > 1]
    assert count(browser) == len(repaired) > 0
    browser("click", at=".episodes .row")
    browser.wait_for("h1", repaired[0]["problem"])
    browser.open(link(shown, "one", "/rollouts?stage=train&text=needle"))
    said = [row for row in rows if any("needle" in turn["response"] for turn in row["turns"])]
    assert len(said) <= count(browser) <= len(said) + 3


def test_links_of_problems_and_families_show_their_episodes(browser: Browser, shown: Path) -> None:
    def follow(at: str) -> list[str]:
        browser("click", at=at)
        browser("wait", until="location.hash.includes('/rollouts?')")
        browser.settle()
        names = browser("texts", at=".episodes .row .problem")
        assert count(browser) == len(names)
        return [str(name) for name in names]

    browser.open(link(shown, "own"))
    assert follow("table.problems a:text-is('text')") == ["p1/x"]
    browser.open(link(shown, "own"))
    assert follow("table.problems tr:has(td.n:text-is('1')) a:text-is('arith')") == ["arith"]
    browser.open(link(shown, "own"))
    assert follow("table.problems tr:has(td.n:text-is('2')) a:text-is('arith')") == ["p1", "p10"]
    assert browser("text", at=".filters .chips") == "Family: arith\n\u00d7"
    browser("fill", at="label:has-text('Problem') input", value="P10")  # a part, any case
    browser("wait", until="location.hash.includes('problem=P10')")
    browser.settle()
    assert count(browser) == 1
    browser("fill", at="label:has-text('Problem') input", value="")
    browser("wait", until="!location.hash.includes('problem=')")
    browser("click", at=".filters .chips button")
    browser("wait", until="!location.hash.includes('family=')")
    browser.settle()
    assert count(browser) == 4 and browser("count", at=".filters .chips") == 0
    browser.open(link(shown, "own"))
    browser("click", at="#problems .choice button:text-is('Problems')")
    assert follow("table.problems a:text-is('p1')") == ["p1"]
    browser("click", at=".episodes .row")
    browser.wait_for("h1", "p1")
    assert follow("a:has-text('Other episodes of this problem')") == ["p1"]
    assert browser("text", at=".filters .chips") == "Problem: p1\n\u00d7"


def test_a_link_shows_exactly_this_episode(browser: Browser, shown: Path) -> None:
    row = next(row for row in rows_of(RunFolder(shown / "one")) if row["index"] == 8)
    browser.open(link(shown, "one", "/train/8"))
    assert browser("text", at="h1") == row["problem"]
    assert browser("count", at=".card.turn") == len(row["turns"])
    assert str(row["seed"]) in browser("text", at=".episode-head")
    numbers = {
        line.split("\t")[0].strip(): line.split("\t")[1].strip()
        for line in browser("texts", at=".numbers tr")
        if "\t" in line
    }
    assert (numbers["Value"], numbers["Return"], numbers["Advantage"]) == (
        "+0.50",
        "+1.00",
        "+2.00",
    )
    assert numbers["Policy version"] == str(row["policy_versions"][0])
    browser("press", key="t")
    browser("wait", until="document.querySelectorAll('#turn-1 .tokens .tok').length === 8")
    assert browser("count", at="#turn-1 .tokens .tok.off") == 5
    browser("press", key="j")
    browser.wait_for(".episode-head", "batch")
    browser("wait", until="!location.hash.includes('/train/8')")


def test_a_list_is_walked_with_keys(browser: Browser, shown: Path) -> None:
    browser.open(link(shown, "many", "/rollouts"))
    assert count(browser) == MANY
    assert browser("count", at=".episodes .row") < 100
    browser("press", key="j")
    browser("press", key="j")
    browser("press", key="Enter")
    browser.wait_for("h1", "sums/2")
    browser.settle()
    assert browser("hash").endswith("/eval/2?at=2")
    browser("press", key="k")
    browser.wait_for("h1", "sums/1")
    browser("press", key="Escape")
    browser.wait_for("h1", "Rollouts of many")
    browser.settle()
    browser("press", key="Shift+G")
    browser.wait_for(".episodes .row.current", f"sums/{MANY - 1}")
    browser("press", key="/")
    assert browser("evaluate", script="document.activeElement.id") == "filter-text"
    browser("press", key="Escape")
    browser("evaluate", script="document.querySelector('.top button').focus()")
    browser("press", key="Enter")  # of the button that has the focus, not of the list
    browser("wait", until="document.documentElement.dataset.theme === 'light'")
    assert "/rollouts" in browser("hash")
    browser("evaluate", script="localStorage.clear()")
    browser("press", key="?")
    browser.wait_for("dialog[open]", "next, previous episode")
    browser("press", key="Escape")
    browser("wait", until="!document.querySelector('dialog[open]')")


def test_what_a_model_wrote_is_text(browser: Browser, shown: Path) -> None:
    browser.open(link(shown, "hostile", "/eval/0"))
    assert browser("text", at="h1") == "<img src=x onerror=alert(2)>"
    code = browser("text", at="#turn-1 pre")
    assert "<script>alert(1)</script>" in code
    marks = browser("texts", at="#turn-1 .odd")
    assert {"␛", "␀", "RLO", "U+D800"} <= set(marks)
    assert (
        browser("evaluate", script="document.querySelectorAll('main script, main img').length") == 0
    )
    assert "\u202e" not in browser("evaluate", script="document.body.innerText")
    browser.open(link(shown, "hostile", "/eval/1"))
    assert len(browser("text", at="#turn-1")) < 30_000
    browser("click", at=".cut button")
    browser.wait_for("#turn-1 .cut", "Show the other")


def test_a_run_grows_while_it_is_looked_at(browser: Browser, shown: Path) -> None:
    browser.open(link(shown, "growing"))
    assert browser("text", at=".tile dd") == "4"
    browser("wait", until="document.querySelector('.live.on')")
    run = RunFolder(shown / "growing")
    ledger = Ledger(run.training_path)
    ledger.add([(i, rollout(i, record("sums/new", ["AC"], solved=True))) for i in range(16, 24)])
    ledger.take(8, in_order=False, too_old=lambda one: False)
    run.append_metrics({"update": 6, "solve_rate": 0.75})
    browser.wait_for(".tile dd", "6")
    browser.wait_for(".chart, .tile", "75.0")
    browser.open(link(shown, "growing", "/rollouts?stage=train&problem=sums/new"))
    assert count(browser) == 8


def test_empty_and_damaged_runs_say_so(browser: Browser, shown: Path) -> None:
    browser.open(link(shown, "empty"))
    assert "no episodes and no metrics" in browser("text", at="main")
    browser.open(link(shown, "damaged"))
    assert "batch-000001" in browser("text", at=".notice")
    browser.open("")
    row = next(row for row in browser("texts", at="table.runs tbody tr") if "damaged" in row)
    assert "batch-000001" in row
    browser.open("#/run/nothing")
    assert browser("count", at=".notice.error") == 1
    browser.open("#/nonsense/1")
    assert "Nothing stands at this address" in browser("text", at=".notice")
    # an answer of 404 is a line of the browser's console, too
    assert all("404" in line or "409" in line for line in browser("errors"))


def test_runs_side_by_side(browser: Browser, shown: Path) -> None:
    ids = "&".join(f"id={quote(f'{shown.name}/{name}', safe='')}" for name in ("one", "two"))
    browser.open(f"#/compare?{ids}")
    browser.wait_for(".differences", "seed")
    assert browser("texts", at=".differences tbody tr") == ["seed\t0\t1"]
    browser.wait_for(".chart .legend", "(2 seeds)")


@pytest.mark.parametrize(
    ("width", "theme"), [(1440, "light"), (1024, "dark"), (390, "light"), (390, "dark")]
)
def test_every_view_fits_its_screen(browser: Browser, shown: Path, width: int, theme: str) -> None:
    browser("size", width=width, height=800)
    browser("theme", theme=theme)
    for at in (
        "#/",
        link(shown, "one"),
        link(shown, "one", "/rollouts?stage=train"),
        link(shown, "one", "/train/2"),
        link(shown, "hostile", "/eval/1"),
    ):
        browser.open(at)
        too_wide = browser("evaluate", script="document.documentElement.scrollWidth - innerWidth")
        assert too_wide <= 0, (at, width)
    background = browser("evaluate", script="getComputedStyle(document.body).backgroundColor")
    assert (int(background.removeprefix("rgb(").split(",")[0]) > 128) == (theme == "light")
    browser("size", width=1440, height=900)
    browser("theme", theme="light")


def test_the_page_of_a_run_needs_no_server(browser: Browser, shown: Path, tmp_path: Path) -> None:
    page = write_report(shown / "one", tmp_path / "one.html").as_uri()
    browser("goto", url=page)
    browser.settle()
    assert browser("text", at="h1").startswith("one")
    after = RunFolder(shown / "one").read_rollouts("eval-after")
    rates: defaultdict[str, list[bool]] = defaultdict(list)
    for line in after:
        if line["stop"] != "infra_error":
            rates[line["problem"]].append(line["solved"])
    solved = sum(sum(each) / len(each) for each in rates.values()) / len(rates)
    assert f"{100 * solved:.1f}" in browser("text", at="#results")
    assert browser("count", at="#changes tbody tr") == 3
    assert "episodes of eval-before" in browser("text", at="main > section:last-of-type")
    browser("click", at=".button.main")
    browser.wait_for("h1", "Rollouts of")
    browser.settle()
    held = count(browser)
    assert 0 < held <= 18 and f"holds {held} of 20" in browser("text", at=".count")
    browser("select", at="label:has-text('Stage') select", value="train")
    browser("wait", until="location.hash.includes('stage=train')")
    browser.settle()
    browser("fill", at="#filter-text", value="NEEDLE")
    browser("wait", until="location.hash.includes('text=NEEDLE')")
    browser.settle()
    assert 0 < count(browser) < 9
    browser("click", at=".episodes .row")
    browser.wait_for("#turn-1", "needle")
    browser("press", key="t")
    browser("wait", until="document.querySelectorAll('#turn-1 .tokens .tok').length === 8")
    browser("size", width=390, height=800)
    for place in ("#/", "#/run/one/rollouts?stage=eval-after"):
        browser("goto", url="about:blank")
        browser("goto", url=page + place)
        browser.settle()
        assert browser("evaluate", script="document.documentElement.scrollWidth <= innerWidth")
    browser("size", width=1440, height=900)


def test_the_page_of_hostile_texts_shows_them(
    browser: Browser, shown: Path, tmp_path: Path
) -> None:
    page = write_report(shown / "hostile", tmp_path / "page.html").as_uri()
    browser("goto", url=f"{page}#/run/hostile/eval/0")
    browser.settle()
    assert browser("text", at="h1") == "<img src=x onerror=alert(2)>"
    assert "<script>alert(1)</script>" in browser("text", at="#turn-1 pre")
    script = "document.querySelectorAll('main script, main img').length"
    assert browser("evaluate", script=script) == 0
    browser("goto", url="about:blank")
    browser("goto", url=f"{page}#/run/hostile/eval/1")
    browser.settle()
    assert "characters in the middle are left out" in browser("text", at="#turn-1 .cut")
