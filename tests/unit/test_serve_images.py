"""Images come from the configured hosts alone, and the token goes to one of them."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.label_studio import Server
from pipeline.serve.images import ImageFetcher
from schemas.errors import ImageError, ParamsError
from tests.unit.serve_parts import Site, png, site

TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def own() -> Iterator[Site]:
    with site() as here:
        yield here


@pytest.fixture
def elsewhere() -> Iterator[Site]:
    with site() as here:
        yield here


def fetcher(own: Site, *hosts: str, max_bytes: int = 10**6) -> ImageFetcher:
    return ImageFetcher(Server.open(own.url, TOKEN), hosts, max_bytes)


def refused(fetcher: ImageFetcher, address: str) -> str:
    with pytest.raises(ImageError) as caught:
        fetcher.fetch(7, address)
    assert TOKEN not in str(caught.value)
    return caught.value.reason


def test_an_upload_is_fetched_with_the_token(own: Site):
    own.pages["/data/upload/1/a.png"] = png()
    assert fetcher(own).fetch(7, "/data/upload/1/a.png") == png()
    assert fetcher(own).fetch(7, f"{own.url}/data/upload/1/a.png") == png()
    assert own.asked == [("/data/upload/1/a.png", f"Token {TOKEN}")] * 2


@pytest.mark.parametrize(
    "address",
    [
        "{elsewhere}/a.png",
        "//{elsewhere_host}/a.png",
        "http://{own_host}@{elsewhere_host}/a.png",
        "http://{own_host}\\@{elsewhere_host}/a.png",
        "http://{elsewhere_host}#@{own_host}/a.png",
        "https://{own_host}/a.png",  # another scheme
        "http://localhost:1/a.png",
        "http://127.1/a.png",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:80/a.png",
        "file:///etc/passwd",
        "ftp://{own_host}/a.png",
        "data:image/png;base64,AAAA",
        "http://",
        "http://[",
        "http://a:b:c/",
        "\x00",
    ],
)
def test_other_addresses_are_refused_and_never_asked(own: Site, elsewhere: Site, address: str):
    elsewhere.pages["/a.png"] = own.pages["/a.png"] = png()
    hosts = {"own_host": urlsplit(own.url).netloc, "elsewhere_host": urlsplit(elsewhere.url).netloc}
    assert refused(fetcher(own), address.format(elsewhere=elsewhere.url, **hosts)) in {"image_refused", "image_missing"}
    assert elsewhere.asked == []
    assert all(path != "/a.png" for path, _ in own.asked)


def test_a_redirect_elsewhere_is_refused(own: Site, elsewhere: Site):
    own.pages["/a.png"] = f"{elsewhere.url}/a.png"
    elsewhere.pages["/a.png"] = png()
    assert refused(fetcher(own), "/a.png") == "image_refused"
    assert elsewhere.asked == []


def test_a_redirect_to_a_configured_storage_is_followed_without_the_token(own: Site, elsewhere: Site):
    own.pages["/a.png"] = f"{elsewhere.url}/a.png?signature=s3cret"
    elsewhere.pages["/a.png?signature=s3cret"] = png()
    assert fetcher(own, elsewhere.url).fetch(7, "/a.png") == png()
    assert elsewhere.asked == [("/a.png?signature=s3cret", None)]


def test_a_storage_that_redirects_back_elsewhere_is_refused(own: Site, elsewhere: Site):
    elsewhere.pages["/a.png"] = "http://169.254.169.254/"
    assert refused(fetcher(own, elsewhere.url), f"{elsewhere.url}/a.png") == "image_refused"


def test_redirects_end(own: Site):
    own.pages["/a.png"] = "/a.png"
    assert refused(fetcher(own), "/a.png") == "image_missing"
    assert len(own.asked) == 4


def test_a_storage_uri_is_resolved_by_label_studio(own: Site):
    with pytest.raises(ImageError):
        fetcher(own).fetch(7, "s3://bucket/a b.png")
    path, authorisation = own.asked[0]
    assert urlsplit(path).path == "/tasks/7/resolve/" and authorisation == f"Token {TOKEN}"
    assert parse_qs(urlsplit(path).query) == {"fileuri": ["czM6Ly9idWNrZXQvYSBiLnBuZw=="]}


def test_too_large_an_image_is_refused(own: Site):
    own.pages["/a.png"] = bytes(2000)
    assert refused(fetcher(own, max_bytes=1999), "/a.png") == "image_refused"
    assert len(fetcher(own, max_bytes=2000).fetch(7, "/a.png")) == 2000


def test_an_image_that_is_gone_is_missing(own: Site):
    assert refused(fetcher(own), "/gone.png") == "image_missing"


@pytest.mark.parametrize("host", ["bucket.example.com", "ftp://a", "http://", ""])
def test_a_configured_host_is_an_address(own: Site, host: str):
    with pytest.raises(ParamsError, match=r"serve\.image_hosts"):
        fetcher(own, host)
