"""Which families belong to which split, and the problems of a split.

"dev" was the test split while the shipped recipes were chosen, by looking at it. "test" has
families of its own (``held_out.py``); nothing is chosen on it.
"""

from functools import lru_cache
from itertools import count
from random import Random

from rlef.problems.mini.families import FAMILIES, Family
from rlef.problems.mini.generate import Disclosure, Specimen, make_specimen
from rlef.problems.mini.held_out import HELD_OUT
from rlef.problems.types import Problem

PER_TOPIC = {"train": 700, "valid": 60, "dev": 120, "test": 120}
"""Problems of each topic in a split."""
_SMALLER = {"formatting": 2 / 5}
"""Topics that get less: its one detail, the case, is seldom left out."""
_FAMILY_SHARES = {"valid": 0.1, "dev": 0.2}
_ORDERS = {"dev": "test", "test": "held out"}
"""Seeds of the orders, where they are not the split's name: that of "dev" is from its time as
"test"."""
_TRIES_PER_FAMILY = 400
_EVEN: tuple[Disclosure, ...] = ("hidden", "stated", "shown")


def load_split(split: str) -> list[Problem]:
    """Returns the problems of a split, always the same, topics mixed.

    Args:
        split: "train", "valid", "dev" or "test".
    """
    return [specimen.problem for specimen in load_specimens(split)]


@lru_cache(maxsize=4)
def load_specimens(split: str) -> tuple[Specimen, ...]:
    """Returns the problems of a split with what they were made of."""
    specimens: list[Specimen] = []
    for topic, families in families_of(split).items():
        specimens += _draw(families, round(PER_TOPIC[split] * _SMALLER.get(topic, 1)))
    Random(f"mini/order/{_ORDERS.get(split, split)}").shuffle(specimens)
    return tuple(specimens)


def fresh_specimens(number: int, per_topic: int) -> list[Specimen]:
    """Returns problems of the training families that no split has, for a supervised warm start.

    Their details are left out, stated and shown in equal parts.

    Args:
        number: Which set of problems: 0, 1, ...
        per_topic: How many of each topic.
    """
    found: list[Specimen] = []
    for families in families_of("train").values():
        start = _TRIES_PER_FAMILY + number * per_topic
        wanted = len(found) + per_topic
        for place in count():
            if len(found) == wanted:
                break
            specimen = make_specimen(families[place % len(families)], start + place, _EVEN)
            if specimen is not None:
                found.append(specimen)
    Random(f"mini/fresh/{number}").shuffle(found)
    return found


def families_of(split: str) -> dict[str, list[Family]]:
    """Returns the families of a split by topic. No family is in two splits."""
    found: dict[str, list[Family]] = {}
    for topic in dict.fromkeys(family.topic for family in FAMILIES):
        if split == "test":
            found[topic] = [family for family in HELD_OUT if family.topic == topic]
            continue
        families = [family for family in FAMILIES if family.topic == topic]
        Random(f"mini/split/{topic}").shuffle(families)
        valid = round(_FAMILY_SHARES["valid"] * len(families))
        dev = round(_FAMILY_SHARES["dev"] * len(families))
        found[topic] = {
            "valid": families[:valid],
            "dev": families[valid : valid + dev],
            "train": families[valid + dev :],
        }[split]
    return found


def _draw(families: list[Family], wanted: int) -> list[Specimen]:
    """Draws from the families in turn, without repeating a statement that has the same program."""
    found: list[Specimen] = []
    seen: set[tuple[str, str]] = set()
    for index in range(_TRIES_PER_FAMILY):
        for family in families:
            if len(found) == wanted:
                return found
            specimen = make_specimen(family, index)
            if specimen is None:
                continue
            key = (specimen.problem.statement, specimen.problem.solutions[0])
            if key not in seen:
                seen.add(key)
                found.append(specimen)
    return found
