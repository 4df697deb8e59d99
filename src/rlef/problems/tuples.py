"""Which arguments of MBPP+ are tuples, sets or complex numbers: its jsonl has only lists.

The lists of task ids are facts of the data set, from ``evalplus/data/mbpp.py`` (EvalPlus 0.3.1).
"""

from typing import Any

_ARGUMENTS = frozenset(
    {
        2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630,
        726, 740, 744, 809,
    }
)  # fmt: skip
_ITEMS = frozenset((63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780))
_ITEMS_OF_FIRST = frozenset((75, 413, 444, 753))
_FIRST = frozenset((250, 405, 446, 617, 720, 763, 808, 307))
_SECOND = frozenset((106, 750))
_ARGUMENTS_AND_ITEMS = frozenset((259, 401, 445))
_ALL = frozenset((580, 615, 791))


def with_tuples(task: int, given: list[Any]) -> list[Any]:
    """Returns the arguments of one call with the types that the function expects.

    Args:
        task: The number of the MBPP task.
        given: The arguments as JSON has them.
    """
    if task in _ARGUMENTS:
        return [tuple(item) for item in given]
    if task in _ITEMS:
        return [[tuple(item) for item in argument] for argument in given]
    if task in _ARGUMENTS_AND_ITEMS:
        return [tuple(tuple(item) for item in argument) for argument in given]
    if task in _ITEMS_OF_FIRST:
        return [[tuple(item) for item in given[0]], *given[1:]]
    if task in _FIRST:
        return [tuple(given[0]), *given[1:]]
    if task in _SECOND:
        return [given[0], tuple(given[1])]
    if task in _ALL:
        return [_all_tuples(item) for item in given]
    return _single(task, given)


def _single(task: int, given: list[Any]) -> list[Any]:
    if task == 115:
        return [[set(item) if type(item) is list and item else {} for item in given[0]]]
    if task == 124:
        return [float(given[0]), complex(given[1])]
    if task == 252:
        return [complex(given[0])]
    if task == 278:
        return [tuple(tuple(item) if type(item) is list else item for item in given[0])]
    if task == 722:
        return [{key: tuple(value) for key, value in given[0].items()}, *given[1:]]
    return given


def _all_tuples(value: Any) -> Any:
    return tuple(map(_all_tuples, value)) if type(value) is list else value
