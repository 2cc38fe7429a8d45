"""Every error maskloop raises on purpose.

MaskloopError
├── ParamsError          params.yaml does not say what it must
├── ClassMapError        the class map contradicts the label config or a model
├── SourceError          the place annotations come from
│   ├── UnauthorisedError    the token is wrong or missing
│   ├── UnreachableError     no answer after every retry
│   ├── ProjectNotFoundError no such project
│   └── SourceFormatError    it answers, but not with what was expected
├── DataError            files on disk that are missing, corrupt, or too few
├── RegionError          one region that can't become pixels (ends in the rejects, not in an exit)
├── ImageError           one image that can't be read (ends in the rejects, not in an exit)
├── PushError            the server did not store what was sent
└── BusyError            another round holds the lock, or too many requests wait

The message says what was found, what was expected, and where; `remedy` says how to mend it.
"""

from __future__ import annotations


class MaskloopError(Exception):
    """Base of the tree. `str(error)` is one line; `remedy` is one sentence, possibly empty."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.remedy = remedy


class ParamsError(MaskloopError):
    """params.yaml is missing, malformed, or holds an unknown or impossible value."""


class ClassMapError(MaskloopError):
    """The class map contradicts the label config, a model, or itself."""


class SourceError(MaskloopError):
    """The source of annotations failed."""


class UnauthorisedError(SourceError):
    """The server refused the token."""


class UnreachableError(SourceError):
    """The server gave no usable answer after every retry."""


class ProjectNotFoundError(SourceError):
    """The project does not exist, or the token may not see it."""


class SourceFormatError(SourceError):
    """The answer or the export file does not have the documented form."""


class DataError(MaskloopError):
    """A file of the project folder is missing or corrupt, or there is too little data for the stage."""


class RegionError(MaskloopError):
    """A region that can't be turned into pixels. `reason` is a short stable code, used in data/rejects.parquet."""

    def __init__(self, reason: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.reason = reason


class ImageError(MaskloopError):
    """An image that can't be used. `reason` is a short stable code, used in data/rejects.parquet."""

    def __init__(self, reason: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.reason = reason


class PushError(MaskloopError):
    """The server stored something else than what was sent."""


class BusyError(MaskloopError):
    """Another round is running in this project folder, or the queue of a server is full."""
