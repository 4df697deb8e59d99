"""The pages of the API reference name what is public: ``python dev/api_pages.py`` writes them."""

import importlib.util
import pkgutil
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_pages_name_what_is_public() -> None:
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "dev" / "api_pages.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    there = {path.name: path.read_text(encoding="utf-8") for path in script.FOLDER.glob("*.md")}
    assert there == script.pages(), "stale: python dev/api_pages.py"
    for names in script.ALSO.values():
        for name in names:
            assert pkgutil.resolve_name(name) is not None
