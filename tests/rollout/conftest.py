"""What most tests of rollouts need: a chat format, and a judge."""

from collections.abc import Iterator

import pytest
from scripted import make_chat

from rlef.environment import ChatFormat
from rlef.sandbox import Sandbox


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return make_chat()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as running:
        yield running
