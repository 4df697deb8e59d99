"""Seeds of single draws."""

import hashlib
import json

_MAX_SEED = 2**63 - 1


def derive_seed(seed: int, *path: str | int) -> int:
    """Returns a seed for one draw of what has ``seed``.

    Args:
        seed: Any integer.
        path: Which draw: the name of a stream of draws, then numbers in it. Streams of different
            names have nothing to do with each other, nor have paths of different length.

    Returns:
        A hash of all of it, in [0, 2**63): the same on every machine.

    Example:
        >>> derive_seed(0, "train", 7) == derive_seed(0, "eval", 7)
        False
    """
    words = [int(seed), *(part if isinstance(part, str) else int(part) for part in path)]
    digest = hashlib.blake2b(json.dumps(words).encode("ascii"), digest_size=8).digest()
    return int.from_bytes(digest, "little") & _MAX_SEED
