"""Metrics are read as they come, and anew where the file was rewritten."""

from pathlib import Path

import pytest

from rlef.view.errors import ViewError
from rlef.view.metric_lines import MetricLines


def rewrite(path: Path, text: str) -> None:
    """In place, as a file that takes the old one's name may get its inode too."""
    inode = path.stat().st_ino if path.exists() else None
    path.write_text(text)
    assert inode in (None, path.stat().st_ino)


@pytest.mark.parametrize(
    "after",
    [
        '{"update": 2, "more": 1}\n{"update": 4, "more": 2}\n{"update": 6}\n',
        '{"update": 2}\n{"update": 4, "new": 1}\n',
        '{"update": 3}\n{"update": 5}\n{"update": 7}\n',
    ],
)
def test_a_rewritten_file_is_read_anew(tmp_path: Path, after: str) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = MetricLines(path, lambda _: True)
    rewrite(path, '{"update": 2}\n')
    assert lines.all() == [{"update": 2}]
    with path.open("a") as file:
        file.write('{"update": 4}\n{"upd')
    assert lines.all() == [{"update": 2}, {"update": 4}]
    rewrite(path, after)
    assert lines.all() == MetricLines(path, lambda _: True).all()


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rewrite(path, '{"update": 2}\n[]\n')
    with pytest.raises(ViewError, match=r"metrics\.jsonl:2 is damaged: not a JSON object"):
        MetricLines(path, lambda _: True).all()
