"""A Label Studio server of our own on loopback, for the demo and the live tests.

It runs in its own process group from its own virtual environment, keeps everything in one folder, and makes no call
off the machine.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from connectors.storage import read_json, write_bytes
from schemas.errors import SourceError, UnreachableError

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach the server. Kept in a file of mode 0600."""

    url: str
    username: str
    password: str
    api_key: str
    pid: int


class LocalServer:
    """A server whose data, log and login live in `folder`. `executable` is `label-studio` of its environment.

    `settings`: more of the server's environment variables, or others than it would have.
    """

    def __init__(self, folder: Path, executable: Path, settings: Mapping[str, str] | None = None) -> None:
        self.settings = dict(settings or {})
        self.folder = folder.absolute()
        self.executable = executable.absolute()
        self.login_file = self.folder / "login.json"
        self.log_file = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def login(self) -> Login | None:
        """How to reach the server; None if it was never started."""
        return Login(**read_json(self.login_file)) if self.login_file.exists() else None

    def is_up(self) -> bool:
        """Whether the server answers."""
        login = self.login()
        return login is not None and self._is_running(login.pid) and _is_healthy(login.url)

    def start(self) -> Iterator[float]:
        """Start it unless it is up; yields the seconds waited, once a second. Raises SourceError with its log's end."""
        if self.is_up():
            return
        if not self.executable.is_file():
            raise SourceError(f"no Label Studio at {self.executable}", "Run `make label-studio`.")
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.login()
        port = _free_port(int(before.url.rsplit(":", 1)[1]) if before else 8080)
        login = Login(
            url=f"http://127.0.0.1:{port}",
            username=before.username if before else "annotator@localhost.local",
            password=before.password if before else secrets.token_urlsafe(12),
            api_key=before.api_key if before else secrets.token_hex(20),
            pid=0,
        )
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [self.executable, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)],
                env=self._environment(login),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._remember(login, self._process.pid)
        yield from self._wait(self._process, login.url)

    def stop(self) -> bool:
        """Stop it; what it holds stays. Returns whether it was running."""
        login = self.login()
        if login is None or not self._is_running(login.pid):
            return False
        os.killpg(login.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._is_running(login.pid):
            if time.monotonic() > deadline:
                os.killpg(login.pid, signal.SIGKILL)
            time.sleep(0.1)
        return True

    def _is_running(self, pid: int) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is None
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return pid > 0

    def _remember(self, login: Login, pid: int) -> None:
        text = json.dumps({**asdict(login), "pid": pid}, indent=2) + "\n"
        write_bytes(self.login_file, text.encode(), mode=0o600)

    def _wait(self, process: subprocess.Popen[bytes], url: str) -> Iterator[float]:
        started = time.monotonic()
        while not _is_healthy(url):
            waited = time.monotonic() - started
            if process.poll() is not None:
                raise SourceError(
                    f"Label Studio ended with code {process.returncode}: {self._log_end()}", str(self.log_file)
                )
            if waited > START_TIMEOUT_S:
                raise UnreachableError(
                    f"Label Studio is not up after {waited:.0f} s: {self._log_end()}", str(self.log_file)
                )
            yield waited
            time.sleep(1.0)

    def _log_end(self) -> str:
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty"

    def _environment(self, login: Login) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder / "data"),
            "LABEL_STUDIO_USERNAME": login.username,
            "LABEL_STUDIO_PASSWORD": login.password,
            "LABEL_STUDIO_USER_TOKEN": login.api_key,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
            "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
            "LABEL_STUDIO_SENTRY_DSN": "",
            "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
            **self.settings,
        }


def _free_port(preferred: int) -> int:
    """The preferred port of 127.0.0.1 if it is free, else any free one: Label Studio would silently take another."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SourceError("no free port on 127.0.0.1")


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5.0).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
