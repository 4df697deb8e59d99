"""The judge over HTTP: a service, its client, and the protocols of other trainers. Needs no torch.

``rlef serve`` starts it; ``RemoteJudge`` stands for a ``Sandbox`` elsewhere. See ``docs/serve.md``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlef.serve.client import RemoteJudge, open_judge
    from rlef.serve.shared import shared_judge

__all__ = ["RemoteJudge", "open_judge", "shared_judge"]


def __getattr__(name: str) -> Any:
    """Imports the client on first use (PEP 562): the command line needs the limits only."""
    if name == "shared_judge":
        return import_module(f"{__name__}.shared").shared_judge
    if name in __all__:
        return getattr(import_module(f"{__name__}.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
