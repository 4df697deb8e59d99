from collections.abc import Iterator

import pytest

from rlef.sandbox import Sandbox


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled programs of the tests do not end up among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for all tests: what one program does must not reach the next."""
    with Sandbox(workers=2) as shared:
        yield shared
