"""What a service may do, and how much of it."""

from dataclasses import dataclass

PORT = 8410
TOKEN_VARIABLE = "RLEF_JUDGE_TOKEN"
URL_VARIABLE = "RLEF_JUDGE_URL"


def check_token(token: str) -> str:
    """Returns a token.

    Raises:
        ValueError: A header cannot carry it.
    """
    if not (token.isascii() and token.isprintable()):
        raise ValueError("the token is not of printable ASCII, which all that headers carry alike")
    return token


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """The limits of a service."""

    workers: int = 2
    """Jails: programs that run at once."""
    max_queue: int = 1000
    """Programs that wait for a jail; then callers are told to come back later."""
    max_body_mb: float = 32.0
    """Longest request."""
    max_seconds: float = 60.0
    """Largest CPU limit of a test that may be asked for."""
    max_memory_mb: int = 8192
    """Largest memory limit of a test that may be asked for."""
    max_output_kb: int = 16 * 1024
    """Largest output limit of a test that may be asked for."""
    deadline_s: float = 600.0
    """Longest time from request to answer of one program, and what holds where a caller names
    none."""
    body_s: float = 60.0
    """Time that a request may take to arrive."""
    max_connections: int = 2048
    """Connections; more are told to come back later."""
    grace_s: float = 60.0
    """Time that programs have to end when the service is stopped."""
    token: str | None = None
    """What callers must know; ``None``: nothing."""

    @property
    def max_body(self) -> int:
        """Longest request in bytes."""
        return int(self.max_body_mb * (1 << 20))

    @property
    def max_held(self) -> int:
        """Bytes of all requests that are held at once."""
        return max(256 << 20, 4 * self.max_body)
