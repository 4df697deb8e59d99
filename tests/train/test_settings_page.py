import importlib.util
from datetime import date
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from rlef.config import ConfigError
from rlef.train.recipe import TrainConfig
from rlef.train.settings import SettingRow, matching_rows, setting_rows, settings_text
from rlef.train.warmstart_config import WarmstartConfig

ROOT = Path(__file__).parents[2]


class Inner(BaseModel):
    """What is inside.

    More of it.
    """

    rate: float = Field(1e-5, gt=0, le=1)
    """How fast,
    in steps."""


class Outer(BaseModel):
    words: tuple[Literal["a", "b"], ...] = ()
    """Some of two."""
    day: date = date(2024, 7, 26)
    count: int | Literal["all"] | None = Field(None, ge=1, json_schema_extra={"since": "0.2.0"})
    inner: Inner = Inner(rate=0.5)
    maybe: Inner | None = None


def test_rows_say_what_the_models_say() -> None:
    since = "0.1.0"
    assert setting_rows(Outer) == [
        SettingRow("words", "list", "[]", "a, b", "Some of two.", since),
        SettingRow("day", "date", "2024-07-26", "YYYY-MM-DD", "", since),
        SettingRow("count", "integer", "null", "all, 1 or more, or null", "", "0.2.0"),
        SettingRow("inner", "section", "", "", "What is inside.", since),
        SettingRow("inner.rate", "number", "0.5", "above 0, up to 1", "How fast, in steps.", since),
        SettingRow(
            "maybe", "section", "null", "null, or the settings below", "What is inside.", since
        ),
        SettingRow(
            "maybe.rate", "number", "1.0e-05", "above 0, up to 1", "How fast, in steps.", since
        ),
    ]


@pytest.mark.parametrize("config", [TrainConfig, WarmstartConfig])
def test_every_setting_has_a_meaning(config: type[BaseModel]) -> None:
    rows = setting_rows(config)
    assert [row.key for row in rows if len(row.meaning) < 10 or row.meaning[-1] != "."] == []
    assert [row.key for row in rows if row.type != "section" and not row.allowed] == []


def test_rows_are_found_by_name_and_by_meaning() -> None:
    rows = setting_rows(TrainConfig)
    keys = {row.key for row in matching_rows(rows, "KL")}
    assert {"learner.kl", "learner.beta", "learner.target_kl"} <= keys
    assert matching_rows(rows, "") == rows
    with pytest.raises(ConfigError, match="no setting has 'xyzzy'"):
        matching_rows(rows, "xyzzy")


def test_the_text_fits_80_columns_and_names_every_key() -> None:
    rows = setting_rows(TrainConfig)
    lines = settings_text(rows).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line[0] != " "] == [f"{r.key}  ({r.type})" for r in rows]


def test_the_page_is_that_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("page", ROOT / "dev" / "settings_page.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), (
        "stale: python dev/settings_page.py"
    )
