"""What the commands are told from outside: params.yaml and the environment, which nothing else reads."""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values

from connectors.base import Credentials
from schemas.params import Params, load_params


def environment() -> dict[str, str]:
    """The environment over what `.env` in the current folder says."""
    return {name: value for name, value in dotenv_values(".env").items() if value} | dict(os.environ)


def credentials() -> Credentials:
    """Where the server is and with which token."""
    found = environment()
    return Credentials(found.get("LABEL_STUDIO_URL"), found.get("LABEL_STUDIO_API_KEY"))


def read_params() -> Params:
    """The current folder's params.yaml. Raises ParamsError if it is missing or wrong."""
    return load_params(Path("params.yaml"))
