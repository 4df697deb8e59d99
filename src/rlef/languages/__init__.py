"""The languages that programs may be in. A new one is a module here and its name in ``LANGUAGES``.

All that the judge, loaders, prompts and commands know of a language stands in its module.
"""

from rlef.languages import cpp, python, rust
from rlef.languages.types import Language

LANGUAGES: dict[str, Language] = {
    language.name: language for language in (python.LANGUAGE, cpp.LANGUAGE, rust.LANGUAGE)
}

__all__ = ["LANGUAGES", "Language"]
