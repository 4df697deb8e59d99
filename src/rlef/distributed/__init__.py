"""A run on several machines: Ray's actors around what is the same in one process.

The only importer of ray, and only inside: ``ClusterSettings`` needs none.
"""

from rlef.distributed.settings import ClusterSettings

__all__ = ["ClusterSettings"]
