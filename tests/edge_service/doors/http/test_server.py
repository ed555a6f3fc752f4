from collections.abc import AsyncIterator

import pytest
from starlette.testclient import TestClient

from edge_service.adapters.asset_urls import AssetUrls
from edge_service.doors.http.server import application
from shared.assets import AssetStore

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4096  # over 1 MiB: several chunks


@pytest.fixture
async def url(assets: AssetStore) -> str:
    urls = AssetUrls("", assets)
    urls.secret = b"secret"
    stored = await assets.put_all("ann", "sdxl_image_high_1_abcdef", 1, [PNG])
    return (await urls.sign(stored[0].key)).url


@pytest.fixture
async def browser(assets: AssetStore) -> AsyncIterator[TestClient]:
    urls = AssetUrls("", assets)
    urls.secret = b"secret"
    with TestClient(application(urls, assets)) as client:
        yield client


def test_an_asset_is_served_with_its_type_and_length(browser: TestClient, url: str):
    answer = browser.get(url)
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(PNG))
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("span", "start", "end"),
    [("bytes=0-99", 0, 100), ("bytes=1000000-", 1_000_000, len(PNG)), ("bytes=-10", len(PNG) - 10, len(PNG)),
     ("bytes=0-99999999999", 0, len(PNG)), ("bytes=262143-262145", 262143, 262146)],
)  # fmt: skip
def test_a_range_is_served_exactly(browser: TestClient, url: str, span: str, start: int, end: int):
    answer = browser.get(url, headers={"range": span})
    assert (answer.status_code, answer.content) == (206, PNG[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(PNG)}"


@pytest.mark.parametrize(
    "span",
    [
        "bytes=99999999-",
        "bytes=5-4",
        "bytes=-0",
        "lines=0-1",
        "bytes=a-b",
        "bytes=0-1,3-4",
        f"bytes={'9' * 5000}-",
    ],
)
def test_a_range_that_cannot_be_is_refused(browser: TestClient, url: str, span: str):
    answer = browser.get(url, headers={"range": span})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(PNG)}")


def test_without_a_signature_nothing_is_served(browser: TestClient, url: str):
    for wrong in (url.partition("?")[0], url[:-1], url.replace("image_0", "image_1")):
        assert browser.get(wrong).status_code == 403


def test_an_asset_that_is_gone_is_not_found(browser: TestClient, assets: AssetStore):
    urls = AssetUrls("", assets)
    urls.secret = b"secret"
    expires = 10**11
    path = f"ann/gone/image_0.png?expires={expires}&signature={urls._signature('ann/gone/image_0.png', expires)}"
    assert browser.get(f"/user-library/{path}").status_code == 404


def test_metrics_are_served(browser: TestClient):
    assert "atelier_rpcs_total" in browser.get("/metrics").text
