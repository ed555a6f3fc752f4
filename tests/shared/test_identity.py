"""What services know each other by: secrets and certificates, read again when their files change."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atelier.contracts.errors import Unauthenticated
from shared import identity
from shared.identity import Certificates, Secret, bearer, is_loopback
from tests.kit.certificates import Authority

ONE, TWO = "one-token-of-workers", "two-token-of-workers"


def carrying(token: str) -> dict[str, str | bytes]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets a file be looked at again."""
    offset = 0.0
    now = time.monotonic
    monkeypatch.setattr(identity.time, "monotonic", lambda: now() + offset)

    def go_on() -> None:
        nonlocal offset
        offset += identity.LOOK_SECONDS

    return go_on


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True), ("127.9.9.9:1", True), ("[::1]:1", True), ("localhost:1", True),
        ("0.0.0.0:1", False), ("[::]:1", False), ("10.0.0.1:1", False), ("worker:1", False), ("localhost.x:1", False),
    ],
)  # fmt: skip
def test_an_address_that_only_this_machine_can_reach(address: str, local: bool):
    assert is_loopback(address) is local


@pytest.mark.parametrize("token", ["", ONE[:-1], ONE + "x", ONE.upper(), TWO, "é" * 20])
def test_a_call_without_the_secret_is_refused(token: str):
    with pytest.raises(Unauthenticated):
        Secret(ONE, "").guard("/x", carrying(token))
    with pytest.raises(Unauthenticated, match="no token"):
        Secret(ONE, "").guard("/x", {})
    Secret(ONE, "").guard("/x", carrying(ONE))


def test_the_token_is_found_in_the_metadata():
    assert bearer({"authorization": "bearer  x "}) == "x"


def test_without_a_secret_there_is_nothing_to_send():
    assert (bool(Secret("", "")), Secret("", "").metadata) == (False, ())
    assert Secret(ONE, "").metadata == (("authorization", f"Bearer {ONE}"),)


@pytest.mark.parametrize("text", ["short", "has a space in it", "x" * 15, "é" * 16, "\n", "good-token-of-workers\nbad"])
def test_a_weak_secret_is_refused_and_not_quoted(text: str):
    with pytest.raises(ValueError, match=r"token|at least 16") as raised:
        Secret(text, "")
    assert text.strip() == "" or text.strip() not in str(raised.value)


def test_a_file_without_a_secret_is_refused(tmp_path: Path):
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="holds no token"):
        Secret("", str(tmp_path / "empty"))
    with pytest.raises(OSError, match="No such file"):
        Secret("", str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="not both"):
        Secret(ONE, str(tmp_path / "empty"))


def test_a_secret_is_replaced_without_a_restart_and_both_hold_meanwhile(tmp_path: Path, pass_time: Callable[[], None]):
    file = tmp_path / "tokens"
    file.write_text(f"{ONE}\n")
    secret = Secret("", str(file))
    for text, sent, taken, refused in (
        (f"{ONE}\n{TWO}\n", ONE, (ONE, TWO), ()),
        (f"{TWO}\n{ONE}\n", TWO, (ONE, TWO), ()),
        (f"{TWO}\n", TWO, (TWO,), (ONE,)),
    ):
        file.write_text(text)
        os.utime(file, ns=(time.time_ns(), time.time_ns()))
        pass_time()
        assert secret.metadata == (("authorization", f"Bearer {sent}"),)
        for token in taken:
            secret.guard("/x", carrying(token))
        for token in refused:
            with pytest.raises(Unauthenticated):
                secret.guard("/x", carrying(token))


def test_a_file_that_goes_bad_leaves_the_secret_as_it_was(tmp_path: Path, pass_time: Callable[[], None]):
    file = tmp_path / "tokens"
    file.write_text(ONE)
    secret = Secret("", str(file))
    for spoil in (lambda: file.write_text(""), lambda: file.write_text("x"), file.unlink):
        spoil()
        pass_time()
        secret.guard("/x", carrying(ONE))


def test_certificates_that_do_not_belong_together_are_refused(tmp_path: Path):
    authority = Authority()
    certificate, key = authority.issue(tmp_path, "one")
    _, other_key = authority.issue(tmp_path, "two")
    with pytest.raises(ValueError, match="set both"):
        Certificates(certificate, "", "")
    with pytest.raises(ValueError, match="not that of the certificate"):
        Certificates(certificate, other_key, "")
    (tmp_path / "none").write_text("nonsense")
    for names in ((str(tmp_path / "none"), key, ""), (certificate, str(tmp_path / "none"), "")):
        with pytest.raises(ValueError, match=r".+"):
            Certificates(*names)
    with pytest.raises(ValueError, match=r".+"):
        Certificates(certificate, key, str(tmp_path / "none"))
    assert not Certificates("", "", "")


def test_a_certificate_without_its_key_yet_changes_nothing(tmp_path: Path, pass_time: Callable[[], None]):
    """Two files cannot be replaced at once: in between the old pair stays in force."""
    authority = Authority()
    certificate, key = authority.issue(tmp_path)
    files = Certificates(certificate, key, authority.write(tmp_path / "ca.pem"))
    before, old_key = files.current(), Path(key).read_bytes()
    authority.issue(tmp_path)
    new_key = Path(key).read_bytes()
    Path(key).write_bytes(old_key)
    pass_time()
    assert files.current() == before
    Path(key).write_bytes(new_key)
    pass_time()
    assert files.current()[:2] == (Path(certificate).read_bytes(), new_key)
