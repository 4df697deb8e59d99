from collections.abc import Iterator

import pytest
from serving import real

from rlef.sandbox import Sandbox
from rlef.serve.settings import ServeSettings


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled programs of the tests do not end up among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2) as shared:
        yield shared


@pytest.fixture(scope="session")
def where(sandbox: Sandbox) -> Iterator[str]:
    """Host and port of a service that judges."""
    with real(sandbox, ServeSettings(workers=2)) as found:
        yield found
