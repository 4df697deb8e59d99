import subprocess
import sys

import pytest

import rlef.engines


def test_names() -> None:
    assert all(getattr(rlef.engines, name) for name in rlef.engines.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nonesuch'"):
        _ = rlef.engines.Nonesuch


@pytest.mark.parametrize("package", ["rlef.engines", "rlef.environment"])
def test_importing_needs_no_torch(package: str) -> None:
    code = f"import {package}, sys; sys.exit(bool({{'torch', 'transformers'}} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
