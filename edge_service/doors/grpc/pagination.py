"""Pagination by page tokens: each says where a list, newest first, goes on."""

import base64
from datetime import UTC, datetime

from atelier.contracts import errors


def page_token(last_item: tuple[datetime, str] | None) -> str:
    """What a client sends back to get what comes after the last item of its page; empty where nothing does."""
    if last_item is None:
        return ""
    created, last = last_item
    return base64.urlsafe_b64encode(f"{created.isoformat()} {last}".encode()).decode()


def before_token(token: str) -> tuple[datetime, str] | None:
    """The last item of the page before; None for the first page. Raises InvalidRequest for anything not made here."""
    if not token:
        return None
    try:
        created, _, last = base64.urlsafe_b64decode(token.encode()).decode("ascii").partition(" ")
        if not last.isprintable():
            raise ValueError
        moment = datetime.fromisoformat(created)
        if moment.tzinfo is not UTC:
            raise ValueError
        return moment, last
    except ValueError:
        raise errors.InvalidRequest(errors.Violation("page_token", "is not one that this service gave")) from None
