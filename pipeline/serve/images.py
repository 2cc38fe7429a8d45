"""Images of tasks, fetched from the configured hosts and from nowhere else.

A task's data is written by whoever may import tasks, so an address in it may lead anywhere: to the loopback, to a
cloud's metadata service. Scheme, host and port of every request, redirects too, are compared with those that params
and environment name, and the token goes to Label Studio alone.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable

import httpx

from connectors.label_studio import Server
from schemas.errors import ImageError, ParamsError

TIMEOUT_S = 30.0
MAX_REDIRECTS = 3
PORTS = {"http": 80, "https": 443}
STORAGES = frozenset({"s3", "gs", "azure-blob"})
"""Schemes that Label Studio resolves through its own storage settings."""

Origin = tuple[str, str, int]


class ImageFetcher:
    """Fetches images from the server and from `hosts`, such as https://bucket.example.com, up to `max_bytes` each.

    Raises ParamsError if one of the hosts is no http(s) address.
    """

    def __init__(
        self, server: Server, hosts: Iterable[str], max_bytes: int, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._server = server
        self._own = _origin(httpx.URL(server.url))
        self._allowed = {self._own, *map(_host, hosts)}
        self._max_bytes = max_bytes
        self._http = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, transport=transport)

    def fetch(self, task_id: int, address: str) -> bytes:
        """The bytes of a task's image.

        Raises ImageError: `image_refused` for an address elsewhere or too large an image, `image_missing` if it can't
        be had. No message holds an address's query, which may be a signature.
        """
        url = self._resolved(task_id, address)
        started = time.monotonic()
        try:
            for _ in range(MAX_REDIRECTS + 1):
                self._check(task_id, url)
                headers = self._server.authorisation() if _origin(url) == self._own else {}
                with self._http.stream("GET", url, headers=headers) as response:
                    if response.next_request is None:
                        return self._body(task_id, response, started)
                    url = response.next_request.url
        except httpx.HTTPError as error:
            raise ImageError(
                "image_missing", f"task {task_id}: {url.host} does not answer ({type(error).__name__})"
            ) from error
        raise ImageError("image_missing", f"task {task_id}: over {MAX_REDIRECTS} redirects")

    def _resolved(self, task_id: int, address: str) -> httpx.URL:
        """Absolute address; that of a storage's file is Label Studio's own, which fetches or redirects."""
        try:
            if address.partition("://")[0] in STORAGES:
                encoded = base64.urlsafe_b64encode(address.encode()).decode()
                return httpx.URL(f"{self._server.url}/tasks/{task_id}/resolve/", params={"fileuri": encoded})
            return httpx.URL(self._server.url + "/").join(address)
        except (httpx.InvalidURL, ValueError, TypeError):
            raise ImageError("image_refused", f"task {task_id}: the image's address is malformed") from None

    def _check(self, task_id: int, url: httpx.URL) -> None:
        if _origin(url) not in self._allowed:
            raise ImageError(
                "image_refused",
                f"task {task_id}: the image lies on {url.scheme}://{url.netloc.decode()}, which is not fetched from",
                "Add it to `serve.image_hosts` in params.yaml if it is yours.",
            )

    def _body(self, task_id: int, response: httpx.Response, started: float) -> bytes:
        if response.status_code != httpx.codes.OK:
            raise ImageError(
                "image_missing", f"task {task_id}: {response.url.host} answers HTTP {response.status_code}"
            )
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self._max_bytes:
                raise ImageError(
                    "image_refused",
                    f"task {task_id}: the image is larger than {self._max_bytes / 1e6:g} MB",
                    "Raise `serve.max_image_mb` in params.yaml.",
                )
            if time.monotonic() - started > TIMEOUT_S:
                raise ImageError("image_missing", f"task {task_id}: {response.url.host} takes over {TIMEOUT_S:g} s")
        return bytes(body)


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host.lower(), url.port or PORTS.get(url.scheme, 0)


def _host(text: str) -> Origin:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in PORTS or not url.host:
        raise ParamsError(
            f"`serve.image_hosts`: {text!r:.100} is no http(s) address", "Write it like https://bucket.example.com"
        )
    return _origin(url)
