"""A real Label Studio, started once per run from a migrated copy of its data folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock
from playwright.sync_api import Page

from connectors.label_studio import Server
from connectors.label_studio_server import LocalServer, Login
from tests.live.editor import signed_in

ROOT = Path(__file__).parents[2]
EXECUTABLE = ROOT / ".venv-label-studio/bin/label-studio"
TEMPLATE = ROOT / ".venv-label-studio/template"


def missing(what: str) -> NoReturn:
    """Skip on a user's machine, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI must not skip this")
    pytest.skip(what)


def login_of(local: LocalServer) -> Login:
    login = local.login()
    assert login is not None
    return login


def started(folder: Path, settings: dict[str, str] | None = None) -> LocalServer:
    """A server of its own that lives in `folder`, which does not exist yet."""
    if not EXECUTABLE.exists():
        missing(f"no Label Studio at {EXECUTABLE}: run `make label-studio`")
    with FileLock(f"{TEMPLATE}.lock"):
        if not (TEMPLATE / "migrated").exists():
            shutil.rmtree(TEMPLATE, ignore_errors=True)
            first = LocalServer(TEMPLATE, EXECUTABLE)
            list(first.start())
            first.stop()
            (TEMPLATE / "migrated").touch()
    shutil.copytree(TEMPLATE, folder)
    server = LocalServer(folder, EXECUTABLE, settings)
    list(server.start())
    return server


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    server = started(tmp_path_factory.mktemp("label-studio") / "server")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def server(local: LocalServer) -> Server:
    login = login_of(local)
    return Server.open(login.url, login.api_key)


@pytest.fixture(scope="module")
def page(local: LocalServer) -> Iterator[Page]:
    """A browser that is logged in."""
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("no chromium to look at tasks with")
    with signed_in(login_of(local), chromium) as page:
        yield page
