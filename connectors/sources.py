"""The registry of sources: one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connectors.base import Credentials, Source
from schemas.params import Params


def _label_studio(params: Params, credentials: Credentials) -> Source:
    from connectors.label_studio import LabelStudioProject

    return LabelStudioProject.connect(params, credentials)


def _label_studio_export(params: Params, credentials: Credentials) -> Source:
    from connectors.label_studio_export import LabelStudioExport

    return LabelStudioExport.open(params)


SOURCES: dict[str, Callable[[Params, Credentials], Any]] = {
    "label_studio": _label_studio,
    "label_studio_export": _label_studio_export,
}


def open_source(params: Params, credentials: Credentials) -> Source:
    """The source that `params.source.kind` names. Raises SourceError if it can't be reached or opened."""
    source: Source = SOURCES[params.source.kind](params, credentials)
    return source
