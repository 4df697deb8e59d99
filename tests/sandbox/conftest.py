from collections.abc import Iterator

import pytest

from rlef.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for all tests: what one program does must not reach the next."""
    with Sandbox(workers=2) as shared:
        yield shared
