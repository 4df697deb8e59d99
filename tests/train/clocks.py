"""What a run wrote, without what clocks say: equal for two runs that did the same."""

import json
from collections.abc import Iterable, Mapping
from typing import Any


def without_times(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines without seconds and shares of them."""
    return [{k: v for k, v in line.items() if not k.endswith(("_s", "_idle"))} for line in lines]


def without_clocks(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines in one order, without what differs from process to process; NaN equals NaN."""
    kept = without_times(lines)
    alike = ({k: v for k, v in line.items() if k != "session"} for line in kept)
    return sorted(json.dumps(line, sort_keys=True) for line in alike)
