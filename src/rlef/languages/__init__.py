"""The languages that programs may be in. A new one is a module here and its name in ``LANGUAGES``.

All that the judge, loaders, prompts and commands know of a language stands in its module.
"""

from rlef.languages import cpp, javascript, python, rust
from rlef.languages.types import Language

LANGUAGES: dict[str, Language] = {
    module.LANGUAGE.name: module.LANGUAGE for module in (python, cpp, rust, javascript)
}

__all__ = ["LANGUAGES", "Language"]
