import time
from urllib.parse import parse_qs, urlsplit

import pytest

from edge_service.asset_urls import LIFETIME_SECONDS, AssetUrls
from shared.assets import AssetStore

KEY = "ann/sdxl_image_high_1_abcdef/image_0.png"


@pytest.fixture
def urls(assets: AssetStore) -> AssetUrls:
    urls = AssetUrls("https://cdn.example.com/", assets)
    urls.secret = b"secret"
    return urls


async def test_a_url_has_the_layout_of_the_specification(urls: AssetUrls):
    assert (await urls.sign(KEY)).url.startswith(f"https://cdn.example.com/user-library/{KEY}?")


async def test_a_signed_url_is_valid_for_an_hour(urls: AssetUrls, monkeypatch: pytest.MonkeyPatch):
    signed = await urls.sign(KEY)
    query = parse_qs(urlsplit(signed.url).query)
    expires, signature = query["expires"][0], query["signature"][0]
    assert urls.is_valid(KEY, expires, signature)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + LIFETIME_SECONDS + 1)
    assert not urls.is_valid(KEY, expires, signature)


async def test_nothing_of_a_signed_url_can_be_changed(urls: AssetUrls):
    signed = await urls.sign(KEY)
    signature = parse_qs(urlsplit(signed.url).query)["signature"][0]
    assert not urls.is_valid(KEY.replace("ann", "bob"), str(signed.expires), signature)
    assert not urls.is_valid(KEY, str(signed.expires + 1), signature)
    assert not urls.is_valid(KEY, str(signed.expires), signature[:-1] + ("0" if signature[-1] != "0" else "1"))


@pytest.mark.parametrize("expires", ["", "-1", "1e99", "\u0663", "9" * 400, " 1"])
async def test_nonsense_for_a_time_is_refused(urls: AssetUrls, expires: str):
    assert not urls.is_valid(KEY, expires, "0" * 64)


async def test_another_secret_signs_nothing(urls: AssetUrls, assets: AssetStore):
    other = AssetUrls("https://cdn.example.com", assets)
    other.secret = b"other"
    signature = parse_qs(urlsplit((await other.sign(KEY)).url).query)["signature"][0]
    assert not urls.is_valid(KEY, str((await other.sign(KEY)).expires), signature)
