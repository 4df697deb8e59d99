"""The languages that can be judged. A new one is a module here and a line in ``LANGUAGES``."""

import shutil

from rlef.sandbox.languages import cpp, python
from rlef.sandbox.languages.types import Language

LANGUAGES: dict[str, Language] = {
    language.name: language for language in (python.LANGUAGE, cpp.LANGUAGE)
}


def languages_here() -> frozenset[str]:
    """The languages whose compilers are installed."""
    able = (x.name for x in LANGUAGES.values() if x.compiler is None or shutil.which(x.compiler))
    return frozenset(able)


__all__ = ["LANGUAGES", "Language", "languages_here"]
