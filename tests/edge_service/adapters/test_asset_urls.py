import time
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from edge_service.adapters.asset_urls import Announced, AssetUrls
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
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    signed = await urls.sign(KEY)
    query = parse_qs(urlsplit(signed.url).query)
    expires, signature = query["expires"][0], query["signature"][0]
    assert (signed.expires, expires) == (1_800_003_600, "1800003600")
    monkeypatch.setattr(time, "time", lambda: 1_800_003_600.0)
    assert urls.is_valid(KEY, expires, signature)
    monkeypatch.setattr(time, "time", lambda: 1_800_003_601.0)
    assert not urls.is_valid(KEY, expires, signature)


async def test_an_upload_is_waited_for_for_an_hour(urls: AssetUrls, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    announced = Announced("image/png", 108, "0" * 64, 2**30)
    signed = urls.sign_upload(KEY, announced)
    query = dict(parse_qsl(urlsplit(signed.url).query))
    assert signed.expires == 1_800_003_600
    monkeypatch.setattr(time, "time", lambda: 1_800_003_600.0)
    assert urls.announced(KEY, query) == announced
    monkeypatch.setattr(time, "time", lambda: 1_800_003_601.0)
    assert urls.announced(KEY, query) is None


async def test_a_bucket_is_asked_for_urls_that_work_for_an_hour():
    asked: list[tuple[str, int]] = []

    class Bucket(AssetStore):
        async def sign(self, key: str, lifetime_seconds: int) -> str:
            asked.append((key, lifetime_seconds))
            return "https://bucket.example.com/signed"

    signed = await AssetUrls("https://cdn.example.com", Bucket("memory:///user-library")).sign(KEY)
    assert (signed.url, asked) == ("https://bucket.example.com/signed", [(KEY, 3600)])


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
