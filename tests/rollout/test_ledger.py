import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from some_rollouts import TEXTS, make_rollout, same, there_and_back, without_tokens

from rlef.environment import StopReason
from rlef.rollout import Rollout
from rlef.rollout.ledger import Ledger
from rlef.run import RunDamagedError, RunFolder, RunWriteError
from rlef.run.training import (
    SCHEMA,
    TOKEN_COLUMNS,
    escape_text,
    read_training_rollouts,
    unescape_text,
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", config="seed: 0\n")


@pytest.fixture
def folder(run: RunFolder) -> Path:
    return run.training_path


def add(ledger: Ledger, *indices: int, stop: StopReason | None = None) -> None:
    ledger.add([(index, make_rollout(index, stop=stop)) for index in indices])


# --- rows ---


def test_rollouts_come_back_to_the_bit() -> None:
    rollouts = [make_rollout(number, turns=number % 4) for number in range(30)]
    rollouts += [without_tokens(number) for number in range(4)]
    for before, after in zip(rollouts, there_and_back(rollouts), strict=True):
        assert same(before, after)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_is_stored_as_utf8(text: str) -> None:
    escape_text(text).encode()
    assert unescape_text(escape_text(text)) == text
    assert unescape_text(escape_text(escape_text(text))) == escape_text(text)


def test_ordinary_text_is_stored_as_it_is() -> None:
    assert escape_text("\u2028 \U0001f600 \ufffd") == "\u2028 \U0001f600 \ufffd"
    assert escape_text("a\ud800b") == "a\U0010ffff00d800b"


# --- what is where ---


def test_an_index_is_there_once(folder: Path) -> None:
    ledger = Ledger(folder)
    ledger.add([(0, make_rollout(0)), (0, make_rollout(5)), (2, make_rollout(2))])
    ledger.add([(2, make_rollout(6))])
    assert ledger.pending == [0, 2] and ledger.has(2) and not ledger.has(1)
    taken = ledger.take(2, in_order=False)
    assert taken is not None and same(taken.rollouts[0], make_rollout(0))
    for again in (ledger, Ledger(folder)):
        again.add([(0, make_rollout(7)), (2, make_rollout(7))])
        assert again.pending == []


@pytest.mark.parametrize("is_opened_again", [False, True])
def test_in_order_waits_for_the_lowest(folder: Path, is_opened_again: bool) -> None:
    ledger = Ledger(folder)
    assert ledger.take(2, in_order=True) is None
    for index in (3, 1, 2):
        add(ledger, index)
    assert ledger.take(2, in_order=True) is None
    ledger = Ledger(folder) if is_opened_again else ledger
    assert ledger.pending == [3, 1, 2]
    add(ledger, 0)
    batches = [ledger.take(2, in_order=True), ledger.take(2, in_order=True)]
    assert [batch and batch.indices for batch in batches] == [(0, 1), (2, 3)]
    assert ledger.pending == [] and ledger.batches == 2
    assert (folder / "pending.bin").stat().st_size == 0


def test_else_the_first_to_come_are_taken(folder: Path) -> None:
    ledger = Ledger(folder)
    add(ledger, 5, 1, 3)
    taken = ledger.take(2, in_order=False)
    assert taken is not None and taken.indices == (1, 5) and taken.number == 0
    assert Ledger(folder).pending == [3]
    again = Ledger(folder).batch(0)
    assert again.indices == (1, 5) and again.dropped == 0
    for before, after in zip(taken.rollouts, again.rollouts, strict=True):
        assert same(before, after)


def test_what_is_too_old_is_in_no_batch(run: RunFolder, folder: Path) -> None:
    def too_old(rollout: Rollout) -> bool:
        return rollout.record.solved  # every third

    ledger = Ledger(folder)
    add(ledger, 0, 1, 3, 6)
    assert ledger.take(2, in_order=False, too_old=too_old) is None
    assert ledger.pending == [1] and ledger.has(0)
    assert Ledger(folder).pending == [0, 1, 3, 6]  # nothing is written before the batch is
    add(ledger, 0, 2)
    taken = ledger.take(2, in_order=True, too_old=too_old)
    assert taken is not None and taken.indices == (1, 2) and taken.dropped == 3
    ledger = Ledger(folder)
    assert ledger.batch(0).indices == (1, 2) and ledger.batch(0).dropped == 3
    assert ledger.pending == [] and ledger.has(3)
    rows = read_training_rollouts(run, ["index", "batch", "status"]).to_pylist()
    assert [row["index"] for row in rows] == [1, 2, 0, 3, 6]
    assert [row["status"] for row in rows] == ["taken"] * 2 + ["too_old"] * 3
    assert {row["batch"] for row in rows} == {0}


def test_what_was_asked_for_and_never_came_is_asked_for_first(folder: Path) -> None:
    ledger = Ledger(folder)
    add(ledger, 1, 4, 6)
    ledger.take(2, in_order=False)
    asked = Ledger(folder).unseen()
    assert [next(asked) for _ in range(6)] == [0, 2, 3, 5, 7, 8]


def test_an_unjudged_batch_without_too_old_ones_is_forgotten(folder: Path) -> None:
    ledger = Ledger(folder)
    add(ledger, 0, 1, stop=StopReason.INFRA_ERROR)
    ledger.take(2, in_order=True)
    ledger = Ledger(folder)
    assert ledger.forget_unjudged() == 2
    assert Ledger(folder).batches == 0 and Ledger(folder).pending == []


def test_rows_of_a_forgotten_batch_are_not_pending_again(folder: Path) -> None:
    ledger = Ledger(folder)
    add(ledger, 0, 1, stop=StopReason.INFRA_ERROR)
    add(ledger, 2, 3, 4, stop=StopReason.TURN_LIMIT)
    ledger.take(2, in_order=False)  # too few to write the file of the others anew
    ledger = Ledger(folder)
    assert ledger.forget_unjudged() == 2
    assert ledger.pending == Ledger(folder).pending == [2, 3, 4]
    asked = ledger.unseen()
    assert [next(asked) for _ in range(3)] == [0, 1, 5]


def test_what_a_broken_judge_left_is_asked_for_again(folder: Path) -> None:
    ledger = Ledger(folder)
    assert ledger.forget_unjudged() == 0
    add(ledger, 0, 1, stop=StopReason.TURN_LIMIT)
    ledger.take(2, in_order=True)
    add(ledger, 2, 3, 5, stop=StopReason.INFRA_ERROR)
    add(ledger, 4, stop=StopReason.TURN_LIMIT)
    ledger.take(2, in_order=False, too_old=lambda r: r.record.stop is StopReason.TURN_LIMIT)
    ledger = Ledger(folder)
    assert ledger.batches == 2 and ledger.pending == [5]
    assert ledger.forget_unjudged() == 3
    for again in (ledger, Ledger(folder)):
        assert again.batches == 1 and again.pending == [4]  # it was judged, though too late
        assert again.forget_unjudged() == 0
    asked = ledger.unseen()
    assert [next(asked) for _ in range(4)] == [2, 3, 5, 6]
    add(ledger, 2, 3, stop=StopReason.TURN_LIMIT)
    taken = ledger.take(2, in_order=True)
    assert taken is not None and taken.number == 1


def test_the_file_of_pending_rollouts_does_not_grow_without_end(folder: Path) -> None:
    ledger, sizes = Ledger(folder), []
    for index in range(40):
        add(ledger, index)
        if index > 2:
            ledger.take(1, in_order=False)
        sizes.append((folder / "pending.bin").stat().st_size)
    assert max(sizes[20:]) <= 2 * max(sizes[:8])
    assert Ledger(folder).pending == ledger.pending == [37, 38, 39]


# --- crashes and damage ---


def test_a_torn_end_is_dropped_and_cut(folder: Path) -> None:
    ledger = Ledger(folder)
    add(ledger, 0, 1)
    path = folder / "pending.bin"
    whole = path.stat().st_size
    add(ledger, 2)
    data = path.read_bytes()
    add(ledger, 3)
    rest = path.read_bytes()[len(data) :]
    for cut in [*range(whole, whole + 40), *range(whole + 40, len(data), 97), len(data) - 1]:
        for filler in {b"", bytes(len(data) - cut)} - {data[cut:]}:
            path.write_bytes(data[:cut] + filler)
            torn = Ledger(folder)
            assert torn.pending == [0, 1], cut
        torn.add([(3, make_rollout(3))])
        assert path.read_bytes() == data[:whole] + rest
        assert Ledger(folder).pending == [0, 1, 3]


@pytest.mark.parametrize("in_order", ["in_order", "as_they_come"])
def test_killed_at_each_moment_nothing_is_lost_or_there_twice(
    tmp_path: Path, in_order: str
) -> None:
    words = [sys.executable, Path(__file__).with_name("killed_ledger.py"), tmp_path, in_order]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 40


def test_damage_is_one_line_with_the_file(folder: Path) -> None:
    ledger = Ledger(folder)
    add(ledger, 0, 1, 2)
    ledger.take(2, in_order=True)
    path = folder / "batch-000000.parquet"
    data = path.read_bytes()
    changed = bytearray(data)
    changed[len(data) // 3] ^= 1
    for damage in (b"", data[:-9], data[: len(data) // 2], b"PAR1" * 9, bytes(len(data))):
        path.write_bytes(damage)
        with pytest.raises(RunDamagedError, match=r"batch-000000\.parquet is damaged \(") as error:
            Ledger(folder)
        assert "\n" not in str(error.value) and "put back a whole copy, or" in str(error.value)
    path.write_bytes(changed)
    with pytest.raises(RunDamagedError, match=r"batch-000000\.parquet is damaged"):
        Ledger(folder).batch(0)
    pq.write_table(pa.table({"index": [0, 1], "problem": ["a", "b"]}), path)
    with pytest.raises(RunDamagedError, match="no column"):
        Ledger(folder).batch(0)
    pq.write_table(pa.table({"index": ["a", "b"]}), path)
    with pytest.raises(RunDamagedError, match="batch-000000"):
        Ledger(folder)
    shutil.move(path, folder / "batch-000001.parquet")
    with pytest.raises(RunDamagedError, match=r"batch-000000\.parquet is missing; put back"):
        Ledger(folder)


def test_values_that_no_rollout_has(folder: Path) -> None:
    ledger = Ledger(folder)
    add(ledger, 0)
    ledger.take(1, in_order=True)
    path = folder / "batch-000000.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("stop")
    pq.write_table(table.set_column(place, "stop", pa.array(["lunch"])), path)
    with pytest.raises(RunDamagedError, match=r"batch-000000\.parquet is damaged \('lunch' is"):
        Ledger(folder).batch(0)


def test_columns_that_there_are_not_are_no_damage(run: RunFolder) -> None:
    with pytest.raises(ValueError, match=r"^nope is no column; allowed: .*problem"):
        read_training_rollouts(run, ["index", "nope"])


def test_damage_before_the_end_of_the_pending(folder: Path) -> None:
    ledger = Ledger(folder)
    add(ledger, 0)
    add(ledger, 1)
    path = folder / "pending.bin"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunDamagedError, match=r"pending\.bin is damaged at byte \d+; put back"):
        Ledger(folder)


def test_a_full_disk_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(folder)
    add(ledger, 0)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(RunWriteError, match=r"pending\.bin cannot be written \(No space left"):
            add(ledger, 1)
        with pytest.raises(RunWriteError, match=r"batch-000000\.parquet cannot be written"):
            ledger.take(1, in_order=True)
    assert not ledger.has(1) and ledger.pending == [0] and ledger.batches == 0
    add(ledger, 2)
    assert Ledger(folder).pending == [0, 2]
    assert ledger.take(1, in_order=True) is not None
    assert Ledger(folder).pending == [2]


# --- readers ---


def test_a_viewer_reads_batches_and_what_is_pending(run: RunFolder) -> None:
    assert read_training_rollouts(run).num_rows == 0
    assert not run.has_training_rollouts()
    ledger = Ledger(run.training_path)
    assert run.is_untouched()
    add(ledger, 0, 1, 2)
    assert run.has_training_rollouts() and not run.is_untouched()
    assert read_training_rollouts(run)["status"].to_pylist() == ["pending"] * 3
    pending = (run.training_path / "pending.bin").read_bytes()
    ledger.take(2, in_order=True)
    (run.training_path / "pending.bin").write_bytes(pending)  # as if killed before it was cut
    add(Ledger(run.training_path), 3)
    table = read_training_rollouts(run)
    assert table.column_names == [name for name in SCHEMA.names if name not in TOKEN_COLUMNS]
    assert table["index"].to_pylist() == [0, 1, 2, 3]
    assert table["batch"].to_pylist() == [0, 0, None, None]
    assert table["status"].to_pylist() == ["taken", "taken", "pending", "pending"]
    tokens = read_training_rollouts(run, ["token_ids"])["token_ids"].to_pylist()
    assert tokens == [list(make_rollout(index).token_ids) for index in range(4)]
    record = make_rollout(1).record
    assert table["problem"].to_pylist()[1] == record.problem
    assert table["turns"].to_pylist()[1][0]["response"] == record.turns[0].response
