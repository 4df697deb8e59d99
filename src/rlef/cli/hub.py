"""A folder as a new repository of the Hugging Face Hub."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEME = "hf://"
_WAIT_S = 20.0
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def hub_name(word: str) -> str | None:
    """The repository that ``hf://OWNER/NAME`` names; ``None`` for a folder.

    Raises:
        RunError: Something else follows ``hf://``, or it is another kind of address.
    """
    from rlef.run import RunError

    if not word.startswith(SCHEME) and "://" not in word:
        return None
    name = word.removeprefix(SCHEME).rstrip("/")
    if not _NAME.fullmatch(name):
        raise RunError(f"{word!r} names no repository; allowed: hf://OWNER/NAME, or a folder")
    return name


def check_repository(name: str) -> None:
    """Asks the Hub whether a repository can be made: before the work.

    Raises:
        RunError: There is one with files in it, or no token of its owner.
        RuntimeError: The Hub does not answer, or not in time: its own library waits for ever.
    """
    _in_time(lambda: _check_repository(name))


def _check_repository(name: str) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        LocalTokenNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    from rlef.run import RunError

    api = HfApi()
    with _asking():
        try:
            me = api.whoami()
        except LocalTokenNotFoundError:
            raise RunError("the Hub wants a token; allowed: hf auth login, or HF_TOKEN") from None
        owners = [str(me["name"]), *(str(org["name"]) for org in me.get("orgs") or ())]
        if name.partition("/")[0] not in owners:
            raise RunError(f"{name}: the token is not its owner's; allowed: {', '.join(owners)}")
        try:
            files = [file for file in api.list_repo_files(name) if file != ".gitattributes"]
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return
    if files:
        raise RunError(
            f"{name} on the Hub has files, {files[0]!r} for one; allowed: a repository that does "
            "not exist, or an empty one"
        )


def upload(folder: Path, name: str, *, public: bool, message: str) -> str:
    """Makes the repository, private unless said otherwise, and puts the folder's files there.

    Returns:
        Its address.

    Raises:
        RuntimeError: The Hub does not take it.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _asking():
        address = api.create_repo(name, private=not public, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
    return str(address)


def _in_time(work: Callable[[], None]) -> None:
    """Does it in a thread, which is left alone if it takes too long."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_WAIT_S)
    if thread.is_alive():
        raise RuntimeError(f"the Hub cannot be asked (no answer in {_WAIT_S:g} s)")
    if raised:
        raise raised[0]


@contextmanager
def _asking() -> Iterator[None]:
    """Turns what a dozen libraries may raise into one line."""
    from huggingface_hub.errors import HfHubHTTPError

    from rlef.run import RunError

    try:
        yield
    except RunError:
        raise
    except HfHubHTTPError as error:
        said = error.server_message or " ".join(str(error).split())
        raise RuntimeError(f"the Hub refuses: {said[:200]}") from None
    except Exception as error:
        first: BaseException = error  # of a chain: what really was wrong
        while first.__cause__ is not None:
            first = first.__cause__
        reason = " ".join(str(first).split())[:160]
        raise RuntimeError(f"the Hub cannot be asked ({type(first).__name__}: {reason})") from None
