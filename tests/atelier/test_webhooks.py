import hmac
import json
import re
import time
from hashlib import sha256
from pathlib import Path

import pytest

import atelier
from atelier.webhooks import InvalidSignature, verify

SECRET = "5ec2e7" * 10
BODY = json.dumps({"job_id": "sdxl_1_abc", "status": "completed", "note": "Füchse"}).encode()


def signature(body: bytes = BODY, sent: int | None = None, secret: str = SECRET) -> str:
    stamp = str(int(time.time()) if sent is None else sent)
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()


def headers(body: bytes = BODY, sent: int | None = None, **changes: str) -> dict[str, str]:
    sent = int(time.time()) if sent is None else sent
    whole = {
        "Atelier-Event-Id": "sdxl_1_abc.2",
        "Atelier-Timestamp": str(sent),
        "Atelier-Signature": f"v1={signature(body, sent)}",
    }
    return {**whole, **{f"Atelier-{name.replace('_', '-')}": value for name, value in changes.items()}}


def test_a_genuine_callback_is_given_back_with_its_id():
    sent = int(time.time()) - 200
    event = verify(BODY, headers(sent=sent), SECRET)
    assert (event.id, event.sent) == ("sdxl_1_abc.2", sent)
    assert event.callback == {"job_id": "sdxl_1_abc", "status": "completed", "note": "Füchse"}


def test_the_signature_is_the_one_that_the_documentation_shows(repository: Path):
    page = (repository / "docs" / "webhooks.md").read_text()
    example = re.search(r"secret `(.+)`, the timestamp `(.+)` and the body\n`(.+)` the signature is\n`(.+)`", page)
    assert example
    secret, sent, body, shown = example.groups()
    given = {"atelier-timestamp": sent, "atelier-event-id": "chat_1_a.2", "atelier-signature": shown}
    assert verify(body.encode(), given, secret, tolerance_seconds=float("inf")).id == "chat_1_a.2"


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_the_case_of_the_headers_does_not_matter(spell):
    assert verify(BODY, {spell(name): value for name, value in headers().items()}, SECRET).id


def test_one_of_several_signatures_is_enough():
    assert verify(BODY, headers(Signature=f"v1={'0' * 64}, v2=abc,v1={signature()}"), SECRET)


@pytest.mark.parametrize(
    "given",
    ["", "v1=", f"v1={'0' * 64}", signature(), f"v2={signature()}", f"v1={signature(secret='another')}",
     f"v1={signature(BODY + b' ')}", f"v1={signature()[:-1]}", "v1=ü", "v1=\udcfc", f"v1={signature().upper()}"],
    ids=lambda given: "signature",  # one with the time in it would be another in each process
)  # fmt: skip
def test_any_other_signature_is_refused(given: str):
    with pytest.raises(InvalidSignature, match="Atelier-Signature"):
        verify(BODY, headers(Signature=given), SECRET)


def test_a_body_that_was_changed_is_refused():
    with pytest.raises(InvalidSignature):
        verify(BODY.replace(b"completed", b"failed"), headers(), SECRET)


def test_another_secret_is_refused():
    with pytest.raises(InvalidSignature):
        verify(BODY, headers(), SECRET + "0")


@pytest.mark.parametrize("seconds", [-301, -10_000, 400])
def test_a_callback_of_another_time_is_refused(seconds: int):
    sent = int(time.time()) + seconds
    with pytest.raises(InvalidSignature, match="300 s"):
        verify(BODY, headers(sent=sent), SECRET)
    assert verify(BODY, headers(sent=sent), SECRET, tolerance_seconds=20_000)


@pytest.mark.parametrize(
    "stamp", ["", "soon", "-1", "1.5", "٣", "1" * 13, str(int(time.time()) - 100)], ids=lambda stamp: "stamp"
)
def test_a_timestamp_that_was_changed_is_refused(stamp: str):
    with pytest.raises(InvalidSignature):
        verify(BODY, headers(Timestamp=stamp), SECRET)


@pytest.mark.parametrize("name", ["Atelier-Event-Id", "Atelier-Timestamp", "Atelier-Signature"])
def test_every_header_is_needed(name: str):
    given = headers()
    del given[name]
    with pytest.raises(InvalidSignature, match=name):
        verify(BODY, given, SECRET)


def test_a_callback_cannot_be_sent_again_as_another_event():
    for other in ("sdxl_1_abc.1", "sdxl_1_abd.2", "sdxl_1_abc.3"):
        with pytest.raises(InvalidSignature, match="Atelier-Event-Id"):
            verify(BODY, headers(Event_Id=other), SECRET)


def test_the_start_is_the_first_event():
    body = b'{"job_id": "sdxl_1_abc", "status": "processing"}'
    assert verify(body, headers(body, Event_Id="sdxl_1_abc.1"), SECRET).id == "sdxl_1_abc.1"


def test_no_secret_is_a_mistake_and_not_a_key():
    with pytest.raises(ValueError, match="webhook-secret"):
        verify(BODY, headers(Signature=f"v1={signature(secret='')}"), "")


def test_it_is_there_without_looking_for_it():
    assert atelier.verify_webhook is verify
    assert issubclass(atelier.InvalidSignature, Exception)
