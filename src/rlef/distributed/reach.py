"""Whether a Ray can be reached: told in seconds, where Ray itself tries for minutes."""

import os
import re
import socket
from pathlib import Path

from rlef import extras
from rlef.config import ConfigError
from rlef.distributed.settings import ALLOWED, ClusterSettings
from rlef.sandbox.types import usable_cores

AUTH_MODE = "RAY_AUTH_MODE"
_HINT = f"{extras.how_to_install('ray')} on each machine"
_PRINTED = "allowed: what ray start --head has printed"
_TOKEN_HINT = "the token it was started with, in RAY_AUTH_TOKEN or ~/.ray/auth_token"
_REACH_S = 3.0
_ANSWER_S = 10.0
_EACH_CORE = 4
"""Processes of a core, at most, where Ray is started on this machine."""
_UNAUTHENTICATED = 16  # of gRPC
_STATUS = re.compile(rb"grpc-status.(\d{1,2})", re.S)
_DATA, _HEADERS, _SETTINGS = 0, 1, 4  # frames
_END_STREAM, _END_HEADERS = 1, 4  # their flags


def check_cluster(settings: ClusterSettings) -> None:
    """Looks at all that can be told of a cluster without Ray.

    Raises:
        ConfigError: See ``check_address``; or this machine is too small for so many processes.
    """
    check_address(settings.address)
    if settings.address != "local":
        return
    count = settings.rollout_actors + settings.judge_actors + settings.learner_ranks
    cores = usable_cores()
    if count > _EACH_CORE * cores:
        raise ConfigError(
            f"cluster.address is 'local', but this machine has {cores} cores for {count} processes "
            f"(rollout_actors {settings.rollout_actors}, judge_actors {settings.judge_actors}, "
            f"learner_ranks {settings.learner_ranks}); allowed: up to {_EACH_CORE * cores} of them "
            "together, or a cluster of several machines"
        )


def check_address(address: str | None) -> None:
    """Looks whether ray is installed, something listens, and it lets this process in.

    Raises:
        ConfigError: It is not, nothing does, it does not, or this is no address.
    """
    if address is None:
        return
    if extras.missing("ray"):
        raise ConfigError(
            f"cluster.address is {address!r}, but ray is not installed; {_HINT}, or "
            "cluster.address=null"
        )
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
    if address and address != "local":  # without RAY_ADDRESS only Ray knows
        auth_mode(address)


def auth_mode(address: str) -> str | None:
    """Asks a Ray whether it wants a token.

    A process that sends one also asks for one whenever Ray calls it. So a Ray without tokens has to
    be met without, or its calls are refused and it takes this process's actors for forgotten.

    Args:
        address: HOST:PORT.

    Returns:
        What ``RAY_AUTH_MODE`` has to be: ``token`` or ``disabled``; ``None`` behind TLS.

    Raises:
        ConfigError: It is no address, no Ray answers there, or it does not let this process in.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ConfigError(f"cluster.address is {address!r}; {ALLOWED}")
    where = f"cluster.address is {address!r}"
    try:
        status = _ask(host, int(port))
        if status is None:
            return None
        wanted = "token" if status == _UNAUTHENTICATED else "disabled"
        given = os.environ.get(AUTH_MODE)
        if given not in (None, "token", "disabled"):  # of Kubernetes, say: Ray knows
            return None
        if given not in (None, wanted):
            asks = "asks for a token" if wanted == "token" else "has no token"
            raise ConfigError(
                f"{where}, where Ray {asks}, but {AUTH_MODE} is {given}; allowed: {wanted}, or to "
                "leave it away"
            )
        if wanted == "token":
            token = _own_token()
            if not token:
                raise ConfigError(f"{where}, where Ray asks for a token; allowed: {_TOKEN_HINT}")
            if _ask(host, int(port), token) == _UNAUTHENTICATED:
                raise ConfigError(
                    f"{where}, where Ray refuses the token of this machine; allowed: {_TOKEN_HINT}"
                )
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{where}, but nothing answers there ({why}); {_PRINTED}") from None
    except EOFError:
        raise ConfigError(f"{where}, but no Ray answers there; {_PRINTED}") from None
    return wanted


def _own_token() -> str:
    """The token that Ray itself would send."""
    if found := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return found
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError):
        return ""


def _ask(host: str, port: int, token: str = "") -> int | None:
    """Asks for a cluster's id by gRPC (a call over HTTP/2, RFC 9113).

    Returns:
        The status of the answer; ``None`` behind TLS, where nothing is asked.

    Raises:
        OSError: Nothing listens there.
        EOFError: What listens is no Ray.
    """
    with socket.create_connection((host.strip("[]"), port), timeout=_REACH_S) as one:
        if "RAY_USE_TLS" in os.environ:
            return None
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/ray.rpc.NodeInfoGcsService/GetClusterId",
            ":authority": "ray",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        if token:
            fields["authorization"] = f"Bearer {token}"
        headers = b"".join(map(_field, fields, fields.values()))
        try:
            one.sendall(
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                + _frame(_SETTINGS, 0, 0, b"")
                + _frame(_HEADERS, _END_HEADERS, 1, headers)
                + _frame(_DATA, _END_STREAM, 1, bytes(5))  # an empty message
            )
            with one.makefile("rb") as answers:
                while head := answers.read(9):
                    body = answers.read(int.from_bytes(head[:3], "big"))
                    one.settimeout(_ANSWER_S)  # it speaks HTTP/2, and may be busy
                    if head[3] == _HEADERS and (found := _STATUS.search(body)):
                        return int(found[1])
        except OSError:
            pass
    raise EOFError


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def _field(name: str, value: str) -> bytes:
    """A header as a literal (RFC 7541, 6.2.2)."""
    found = b"\0"
    for text in (name.encode(), value.encode()):
        left, size = len(text), bytes([min(len(text), 127)])
        if left >= 127:
            left -= 127
            while left >= 128:
                size += bytes([left % 128 + 128])
                left //= 128
            size += bytes([left])
        found += size + text
    return found
