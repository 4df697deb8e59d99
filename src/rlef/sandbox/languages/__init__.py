"""The languages that can be judged. A new one is a module here and a line in ``LANGUAGES``."""

from rlef.sandbox.languages import cpp, python
from rlef.sandbox.languages.types import Language

LANGUAGES: dict[str, Language] = {
    language.name: language for language in (python.LANGUAGE, cpp.LANGUAGE)
}

__all__ = ["LANGUAGES", "Language"]
