"""Problems go to actors once; what asks for an episode is small."""

import pickle
from typing import Any

import pytest

from rlef.distributed import rollouts
from rlef.distributed.rollouts import Posted
from rlef.problems import Problem, Test
from rlef.rollout import EpisodeRequest


def test_problems_are_put_once_and_requests_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[Any] = []

    def remember(value: Any) -> str:
        put.append(value)
        return f"reference {len(put)}"

    monkeypatch.setattr(rollouts.ray, "put", remember)
    tests = (Test("1 " * 5000, "2"),)
    some = [
        Problem(name=name, statement="", public_tests=tests, private_tests=tests)
        for name in ("first", "second")
    ]
    posted = Posted()
    asked = [EpisodeRequest(problem=some[i % 2], seed=1 << 62) for i in range(4)]
    words, references = posted.call(list(enumerate(asked)))
    assert words == [(i, i % 2, 1 << 62) for i in range(4)]
    assert references == ["reference 1", "reference 2"] and put == some
    assert len(pickle.dumps(words)) < 40 * len(words)
    again = posted.call([(7, asked[1]), (8, asked[0])])
    assert again == ([(7, 0, 1 << 62), (8, 1, 1 << 62)], ["reference 2", "reference 1"])
    assert put == some
