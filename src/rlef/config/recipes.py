"""The recipes that come with rlef."""

from importlib.resources import files

from rlef.config.types import ConfigError
from rlef.config.words import did_you_mean


def recipe_names() -> list[str]:
    """Names of the recipes that come with rlef, sorted."""
    folder = files("rlef") / "recipes"
    if not folder.is_dir():
        return []
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name[-5:] == ".yaml")


def recipe_text(name: str) -> str:
    """Text of a shipped recipe.

    Raises:
        ConfigError: There is no such recipe.
    """
    names = recipe_names()
    if name not in names:
        raise ConfigError(
            f"no recipe {name!r}{did_you_mean(name, names)}; "
            f"allowed: a YAML file or one of: {', '.join(names)}"
        )
    return (files("rlef") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
