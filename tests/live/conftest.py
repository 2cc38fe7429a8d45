"""A real Label Studio, started once per run from a migrated copy of its data folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.label_studio import Server
from connectors.label_studio_server import LocalServer

ROOT = Path(__file__).parents[2]
EXECUTABLE = ROOT / ".venv-label-studio/bin/label-studio"
TEMPLATE = ROOT / ".venv-label-studio/template"


def missing(what: str) -> None:
    """Skip on a user's machine, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI must not skip this")
    pytest.skip(what)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    if not EXECUTABLE.exists():
        missing(f"no Label Studio at {EXECUTABLE}: run `make label-studio`")
    if not (TEMPLATE / "migrated").exists():
        shutil.rmtree(TEMPLATE, ignore_errors=True)
        first = LocalServer(TEMPLATE, EXECUTABLE)
        list(first.start())
        first.stop()
        (TEMPLATE / "migrated").touch()
    folder = tmp_path_factory.mktemp("label-studio") / "server"
    shutil.copytree(TEMPLATE, folder)
    server = LocalServer(folder, EXECUTABLE)
    list(server.start())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def server(local: LocalServer) -> Server:
    login = local.login()
    assert login is not None
    return Server.open(login.url, login.api_key)
