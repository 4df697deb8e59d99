"""Writes docs/settings.md: every setting, from the pydantic configs.

usage: python dev/settings_page.py
"""

from collections.abc import Iterator
from pathlib import Path

from rlef.train.recipe import TrainConfig
from rlef.train.settings import SettingRow, setting_rows
from rlef.train.warmstart_config import WarmstartConfig

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
_HEAD = """\
# Settings

<!-- Written by dev/settings_page.py from the docstrings of the settings; do not edit. -->

A recipe is a YAML file of these settings. A word `key=value` behind `rlef train RECIPE` goes
before the recipe, and the recipe before the default. An unknown key, a wrong value or a word
without effect is one line that says what is allowed. The terminal shows the same text, all of it
or what holds a word:

<!-- run -->
```bash
rlef train --help-settings kl
rlef train mini learner.beta=0.5 --dry-run | grep beta    # what a run would use, and why
```
"""
_TABLE = "| key | type | default | allowed | meaning | since |\n|---|---|---|---|---|---|"


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_recipe(), *_warmstart()]) + "\n"


def _recipe() -> Iterator[str]:
    rows = setting_rows(TrainConfig)
    single = [row for row in rows if "." not in row.key and row.type != "section"]
    yield "## The run\n"
    yield _table(single)
    for section in (row for row in rows if row.type == "section" and "." not in row.key):
        yield f"## {section.key}\n\n{_marked(section.meaning)}\n"
        yield _table([row for row in rows if row.key.startswith(f"{section.key}.")])


def _warmstart() -> Iterator[str]:
    yield "## rlef warmstart\n\nSettings of `rlef warmstart OUT key=value …`; the defaults made"
    yield "the mini model that comes with rlef.\n"
    yield _table(setting_rows(WarmstartConfig), "warmstart.")


def _table(rows: list[SettingRow], prefix: str = "") -> str:
    lines = [
        f'| <a id="{prefix}{row.key}"></a>`{row.key}` | {row.type} '
        f"| {_code(row.default)} | {_marked(row.allowed)} | {_marked(row.meaning)} | {row.since} |"
        for row in rows
    ]
    return "\n".join([_TABLE, *lines, ""])


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _marked(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
