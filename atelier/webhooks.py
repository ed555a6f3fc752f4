"""For those who receive webhooks: whether a callback really came from your edge, and what it says.

    from atelier.webhooks import InvalidSignature, verify

    event = verify(request.body, request.headers, secret)   # raises InvalidSignature
    if is_new(event.id):                                    # the same event may come more than once
        print(event.callback["status"])

`atelier webhook-secret` prints the secret.
"""

import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

TOLERANCE_SECONDS = 300.0
SCHEME = "v1="


class InvalidSignature(Exception):
    """A callback that your edge did not sign with this secret, or not lately. Answer 400 and read nothing of it."""


@dataclass(frozen=True)
class WebhookEvent:
    """A callback that is genuine."""

    id: str
    """The same however often it is sent; `{job_id}.1` tells of the start, `{job_id}.2` of the end."""
    sent: int
    """When it was sent, in Unix seconds."""
    callback: dict[str, Any]
    """The specification's callback: job_id, worker_id, status, assets, metadata, error."""


def verify(
    body: bytes, headers: Mapping[str, str], secret: str, tolerance_seconds: float = TOLERANCE_SECONDS
) -> WebhookEvent:
    """Checks the signature of a callback. `body` is what came, byte for byte; parsing and writing it again changes it.

    Raises InvalidSignature for a wrong signature, and for one that is older than `tolerance_seconds`: an attacker may
    have recorded it and send it again. Raises ValueError for an empty secret, with which anyone could sign.
    """
    if not secret:
        raise ValueError("verify needs the secret that `atelier webhook-secret` prints")
    named = {name.lower(): value for name, value in headers.items()}
    sent = named.get("atelier-timestamp", "")
    if not sent.isascii() or not sent.isdigit() or len(sent) > 12:
        raise InvalidSignature("the header Atelier-Timestamp is missing or no number of seconds")
    expected = hmac.new(secret.encode(), f"{sent}.".encode() + body, sha256).hexdigest().encode()
    given = [part.strip() for part in named.get("atelier-signature", "").split(",")]
    # Some servers keep bytes that are no text as lone surrogates, which no codec takes as they are.
    signatures = [part.removeprefix(SCHEME).encode(errors="replace") for part in given if part.startswith(SCHEME)]
    if not any(hmac.compare_digest(expected, signature) for signature in signatures):
        raise InvalidSignature("the header Atelier-Signature is missing or not made with this secret")
    if abs(time.time() - int(sent)) > tolerance_seconds:
        raise InvalidSignature(f"it was sent more than {tolerance_seconds:g} s ago, or this clock is wrong")
    callback = json.loads(body)
    # The id is not signed, but what it is made of is.
    number = 1 if callback["status"] == "processing" else 2
    if named.get("atelier-event-id") != (event_id := f"{callback['job_id']}.{number}"):
        raise InvalidSignature("the header Atelier-Event-Id is not that of this callback")
    return WebhookEvent(event_id, int(sent), callback)
