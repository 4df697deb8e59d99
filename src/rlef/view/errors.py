"""What a request can be refused for."""


class ViewError(Exception):
    """A request cannot be answered. One line for the reader, and the status of HTTP.

    Args:
        status: 400 (wrong words), 404 (not there) or 409 (there, but it cannot be read).
        message: One line.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def missing(what: str) -> ViewError:
    """Returns an error of something that is not there."""
    return ViewError(404, f"there is no {what}")
