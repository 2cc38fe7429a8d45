"""A project on a Label Studio server: the transport, and the Source that pull reads.

Requests go through label-studio-sdk (which tells personal access tokens from legacy ones and refreshes the former), but
responses are taken as raw JSON, so that nothing the server says is lost in a model class. Reads are retried with
tenacity for as long as an outage may last; writes are never retried blindly (a repeated POST doubles what it creates).
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from label_studio_sdk import LabelStudio
from label_studio_sdk.base_client import LabelStudioBase
from label_studio_sdk.core.api_error import ApiError
from tenacity import RetryCallState, Retrying, stop_after_delay, wait_exponential_jitter

from connectors.base import Credentials
from connectors.label_studio_json import loads, parse_task
from schemas.errors import (
    ImageError,
    ParamsError,
    ProjectNotFoundError,
    SourceError,
    SourceFormatError,
    UnauthorisedError,
    UnreachableError,
)
from schemas.labels import LabelConfig
from schemas.params import LabelStudioSource, Params
from schemas.tasks import Task

TIMEOUT_S = 60.0
OUTAGE_STATUS = frozenset({408, 425, 429, 502, 503, 504})
SERVER_ERROR_TRIES = 3
"""How often a read that ends in HTTP 500 is tried: Label Studio says 500 also for an upload that is gone."""
TOKEN_REMEDY = "Put the token from Account & Settings of Label Studio into LABEL_STUDIO_API_KEY."


class Server:
    """An authenticated connection to one Label Studio server.

    `patience_s`: how long a read is tried again while the server is away. The token is sent to this host only.
    """

    def __init__(self, url: str, api_key: str, patience_s: float) -> None:
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        http = httpx.Client(timeout=TIMEOUT_S, follow_redirects=True)
        weakref.finalize(self, http.close)
        try:
            self.sdk: LabelStudioBase = LabelStudio(  # type: ignore[no-untyped-call]
                base_url=self.url, api_key=api_key, httpx_client=http
            )
        except ApiError as error:
            raise UnauthorisedError(f"the token is refused: {_detail(error.body)}", TOKEN_REMEDY) from None

    @classmethod
    def open(cls, url: str | None, api_key: str | None, patience_s: float = 60.0) -> Server:
        """Connect, unless address or token are missing: ParamsError or UnauthorisedError."""
        if not url:
            raise ParamsError("no server address", "Set `source.url` in params.yaml or LABEL_STUDIO_URL.")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ParamsError(f"the server address {url!r} is no http(s) URL", "Set `source.url` or LABEL_STUDIO_URL.")
        if not api_key:
            raise UnauthorisedError("no token for Label Studio", TOKEN_REMEDY)
        return cls(url, api_key, patience_s)

    def get(self, path: str, query: dict[str, Any] | None = None) -> httpx.Response:
        """GET with patience. Raises UnauthorisedError, UnreachableError, or SourceError for any other failure.

        A 404 is returned, for the caller knows what it means.
        """
        retrying = Retrying(
            retry=_is_worth_another_try,
            wait=wait_exponential_jitter(max=10),
            stop=stop_after_delay(self._patience_s),
            reraise=True,
        )
        try:
            return retrying(self._request, "GET", path, params=query)
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            raise self._failure(error) from error

    def send(self, method: str, path: str, body: Any = None, files: Any = None, timeout_s: float = 300.0) -> Any:
        """Write once. Returns the parsed answer. Raises as `get` does, and SourceError for a 4xx with its detail."""
        try:
            response = self._request(method, path, json=body, files=files, timeout_s=timeout_s)
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            raise self._failure(error) from error
        if response.status_code == httpx.codes.NOT_FOUND:
            raise SourceError(f"{self.url}{path} does not exist: {_detail(response.content)}")
        return loads(response.content) if response.content else None

    def authorisation(self) -> dict[str, str]:
        """The header that authorises a request to this server. Raises UnauthorisedError if the token has expired."""
        try:
            return {"Authorization": self.sdk._client_wrapper.get_headers()["Authorization"]}
        except ApiError as error:  # a personal access token is refreshed on the way
            raise UnauthorisedError(f"{self.url} refuses the token: {_detail(error.body)}", TOKEN_REMEDY) from None

    def _request(self, method: str, path: str, timeout_s: float = TIMEOUT_S, **arguments: Any) -> httpx.Response:
        options: Any = {"max_retries": 0, "timeout": timeout_s}
        try:
            # The SDK's own request method is the only one that gives the raw response with its authentication.
            http = self.sdk._client_wrapper.httpx_client
            response = http.request(path.lstrip("/"), method=method, request_options=options, **arguments)
        except ApiError as error:  # the SDK refreshes a personal access token on the way
            if error.status_code in (401, 403):
                raise UnauthorisedError(f"{self.url} refuses the token: {_detail(error.body)}", TOKEN_REMEDY) from None
            raise httpx.TransportError(f"HTTP {error.status_code} while refreshing the token") from None
        if response.status_code in (401, 403):
            raise UnauthorisedError(f"{self.url} refuses the token: {_detail(response.content)}", TOKEN_REMEDY)
        if response.status_code in OUTAGE_STATUS or response.is_server_error:
            response.raise_for_status()
        if response.is_client_error and response.status_code != httpx.codes.NOT_FOUND:
            raise SourceError(f"{method} {path}: HTTP {response.status_code}: {_detail(response.content)}")
        return response

    def _failure(self, error: Exception) -> SourceError:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in OUTAGE_STATUS:
            return SourceError(
                f"{error.request.method} {error.request.url.path}: HTTP {error.response.status_code} from the server",
                "Look into Label Studio's own log.",
            )
        found = f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else str(error)
        return UnreachableError(
            f"no usable answer from {self.url} ({found or type(error).__name__})",
            "Is the server up, and LABEL_STUDIO_URL or `source.url` right? Then run the command again.",
        )


class LabelStudioProject:
    """One project as a Source. Tasks are paged by id (keyset), so that deletions meanwhile make no gap."""

    def __init__(self, server: Server, project: int, page_size: int) -> None:
        self.server = server
        self.project = project
        self._page_size = page_size
        self._config: LabelConfig | None = None

    @classmethod
    def connect(cls, params: Params, credentials: Credentials) -> LabelStudioProject:
        """Connect as params and environment say; the environment's address goes before the params'."""
        source = params.source
        if not isinstance(source, LabelStudioSource):
            raise ParamsError(f"source.kind is {source.kind}, expected label_studio", "Name a server in params.yaml.")
        server = Server.open(credentials.url or source.url, credentials.api_key, params.pull.patience_s)
        return cls(server, source.project, params.pull.page_size)

    def info(self) -> dict[str, Any]:
        """The project as the server describes it. Raises ProjectNotFoundError."""
        response = self.server.get(f"/api/projects/{self.project}/")
        if response.status_code == httpx.codes.NOT_FOUND:
            raise ProjectNotFoundError(
                f"{self.server.url} has no project {self.project} that this token may see",
                "Set `source.project` in params.yaml to the number in the project's address.",
            )
        info: dict[str, Any] = _parsed(response)
        return info

    def label_config(self) -> LabelConfig:
        """The project's label config."""
        if self._config is None:
            self._config = LabelConfig.parse(str(self.info().get("label_config", "")))
        return self._config

    def listing(self) -> dict[int, str]:
        """Task id → `updated_at` of every task.

        From one request where the server allows it: that route does not read the annotations on the way (0.6 s instead
        of 12 s for 468 dense tasks), but its pages are by offset and would lose tasks while others change.
        """
        expected = self.info().get("task_number") or 0
        query = {"include": "id,updated_at", "page_size": 10_000_000}
        response = self.server.get(f"/api/projects/{self.project}/tasks/", query)
        found = [] if response.status_code == httpx.codes.NOT_FOUND else _parsed(response)
        if len(found) < expected:  # the server limits the size of a page
            query = {"fields": "task_only", "include": "id,updated_at", "page_size": self._page_size}
            found = self._pages(query, filters=[], after=0)
        return {raw["id"]: str(raw["updated_at"]) for raw in found}

    def tasks(self, stale: dict[int, str]) -> Iterator[Task]:
        """Yield the stale tasks (see Source.tasks): those updated since the oldest of them, by id."""
        if not stale:
            return
        since = min(stale.values()).replace("+00:00", "Z")
        filters = [
            {
                "filter": "filter:tasks:updated_at",
                "operator": "greater_or_equal",
                "type": "Datetime",
                "value": since if "." in since else since.replace("Z", ".000000Z"),
            }
        ]
        image_field = self.label_config().image_field
        query = {"fields": "all", "page_size": self._page_size}
        for raw in self._pages(query, filters, after=min(stale) - 1):
            yield parse_task(raw, image_field)

    def open_tasks(self) -> list[tuple[int, dict[str, Any]]]:
        """Id and data of the tasks that nobody annotated, by id, from a route that asks no ML backend."""
        query = {"include": "id,data,is_labeled", "page_size": 10_000_000}
        response = self.server.get(f"/api/projects/{self.project}/tasks/", query)
        found = [] if response.status_code == httpx.codes.NOT_FOUND else _parsed(response)
        return sorted((raw["id"], raw["data"]) for raw in found if not raw["is_labeled"])

    def predicted_tasks(self, model_version: str) -> set[int]:
        """Ids of the tasks that hold a prediction of a model version."""
        holds = {
            "filter": "filter:tasks:predictions_model_versions",
            "operator": "contains",
            "type": "List",
            "value": [model_version],
        }
        query = {"fields": "task_only", "include": "id", "page_size": self._page_size}
        return {raw["id"] for raw in self._pages(query, [holds], after=0)}

    def _pages(self, query: dict[str, Any], filters: list[dict[str, Any]], after: int) -> Iterator[dict[str, Any]]:
        while True:
            keyset = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after}
            view = {"filters": {"conjunction": "and", "items": [*filters, keyset]}, "ordering": ["tasks:id"]}
            response = self.server.get("/api/tasks", {"project": self.project, "query": json.dumps(view), **query})
            if response.status_code == httpx.codes.NOT_FOUND:
                raise ProjectNotFoundError(f"{self.server.url} has no project {self.project} any more")
            answer = _parsed(response)
            found = answer.get("tasks") if isinstance(answer, dict) else None
            if not isinstance(found, list):
                raise SourceFormatError(f"{self.server.url}/api/tasks answered without a list of tasks")
            yield from found
            if len(found) >= answer["total"]:
                return
            after = found[-1]["id"]

    def fetch_image(self, url: str) -> bytes:
        """The bytes of a task's image. Raises ImageError `image_missing` if it can't be had."""
        address = urljoin(self.server.url + "/", url)
        if urlsplit(address).scheme not in ("http", "https"):
            raise ImageError(
                "image_missing",
                f"its address {url!r:.200} can't be fetched over HTTP",
                "Let Label Studio's storage settings proxy the images, or upload them.",
            )
        try:
            if address.startswith(self.server.url + "/"):
                response = self.server.get(address[len(self.server.url) :])
            else:
                response = httpx.get(address, timeout=TIMEOUT_S, follow_redirects=True)
        except (SourceError, httpx.HTTPError) as error:
            if isinstance(error, UnreachableError | UnauthorisedError):
                raise
            raise ImageError("image_missing", f"{url} can't be fetched: {error}", "Upload the image again.") from error
        if response.status_code != httpx.codes.OK:
            raise ImageError("image_missing", f"{url} answers HTTP {response.status_code}", "Upload the image again.")
        return response.content


def _is_worth_another_try(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in OUTAGE_STATUS:
        return state.attempt_number < SERVER_ERROR_TRIES
    return isinstance(error, httpx.TransportError | httpx.HTTPStatusError)


def _parsed(response: httpx.Response) -> Any:
    try:
        return loads(response.content)
    except ValueError as error:
        raise SourceFormatError(
            f"{response.url.copy_with(query=None)} answered {response.headers.get('content-type')}, expected JSON",
            "Is this address a Label Studio server?",
        ) from error


def _detail(body: Any) -> str:
    try:
        answer = loads(body) if isinstance(body, bytes | str) else body
    except ValueError:
        return "no detail"
    if isinstance(answer, dict):
        answer = answer.get("validation_errors") or answer.get("detail") or answer
    return f"{answer!s:.300}"
