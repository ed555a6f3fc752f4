"""What a tier lacks, a token does not cover or an account may not see, at the calls that clients make."""

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from atelier.pb.edge.v1 import edge_pb2
from atelier.pb.job.v1 import job_pb2
from edge_service.accounts import tiers as module
from edge_service.accounts.tiers import ABILITIES
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import kind_of
from tests.journeys.edge.test_uploads import create, put
from tests.kit.bad_input import reason
from tests.kit.edge import Calls, new_database, started_edge
from tests.kit.issuer import AUDIENCE, Key, key_set, token
from tests.kit.steered import says, turn, until

ISSUER = "https://issuer.example"
FOX = {"type": "sdxl_image_fast", "prompt": "a red fox"}
FILM = {"type": "video_fast", "prompt": "a red fox"}
STILL = {"type": "image_fast", "prompt": "a red fox"}
ENHANCED = {"type": "video7b_fast_enhanced", "prompt": "a red fox"}
HOOK = {"url": "http://127.0.0.1:9/hook"}  # where nobody listens
NOBODYS = "nobody/nothing/a.png"
EVERY_JOB = [f"job.{name}" for name in job_types()]
SFW, NSFW = edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW
Caller = Callable[..., Calls]
users = itertools.count()


@pytest.fixture(scope="module")
async def trusting(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[grpc.aio.Channel, Key]]:
    """A channel to an edge without workers, and the key of the issuer that it trusts."""
    key, folder = Key("first"), tmp_path_factory.mktemp("edge")
    (folder / "jwks.json").write_text(json.dumps(key_set(key)))
    server = await started_edge(
        await new_database(postgres), folder, allowed_networks="127.0.0.0/8",
        jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks=str(folder / "jwks.json"),
    )  # fmt: skip
    await until(lambda: server._service._authenticator._jwt_tokens._keys.usable)  # type: ignore[attr-defined]
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel, key
    await server.stop()


@pytest.fixture
def caller(trusting: tuple[grpc.aio.Channel, Key]) -> Caller:
    """Calls of one user, the test's own: `caller("guest", scope="chat")` is who they are by their token."""
    channel, key = trusting
    user = f"user{next(users)}"

    def calls(tier: str = "premium", **claims: object) -> Calls:
        return Calls(channel, token(key, ISSUER, sub=user, atelier_tier=tier, **claims))

    return calls


@pytest.fixture
def permit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives premium other permissions, from the next request on."""
    whole = module.tiers()

    def give(*permissions: str) -> None:
        premium = whole.tiers["premium"].model_copy(update={"permissions": permissions})
        changed = whole.model_copy(update={"tiers": whole.tiers | {"premium": premium}})
        monkeypatch.setattr(module, "policy", lambda name, model: changed)

    return give


def all_but(*lacking: str) -> list[str]:
    return [permission for permission in (*EVERY_JOB, *ABILITIES) if permission not in lacking]


@contextlib.contextmanager
def refused(word: str, details: str = "") -> Iterator[None]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield
    assert reason(caught.value) == word
    assert details in str(caught.value.details())


def lacks(permission: str, field: str, tier: str = "premium") -> Any:
    said = f"{f'{field}: ' if field else ''}your tier, {tier}, lacks the permission {permission}"
    return refused("PERMISSION_DENIED", said)


async def chat(calls: Calls, request: edge_pb2.ChatRequest) -> None:
    async for _ in calls.chat.Chat(request, metadata=calls.metadata):
        pass


async def retry(calls: Calls, job: edge_pb2.Job) -> edge_pb2.Job:
    return (await calls.jobs.RetryJob(edge_pb2.RetryJobRequest(job_id=job.id), metadata=calls.metadata)).job


ASKED: list[tuple[dict[str, Any], str, str, str]] = [
    # what is asked for, the permission that it needs, the field that asks, and how it ends with the permission
    ({"sdxl": FOX}, "job.sdxl_image_fast", "type", ""),
    ({"wan": FILM}, "job.video_fast", "type", ""),
    ({"chat": says("hi")}, "job.chat_turn", "type", ""),
    ({"sdxl": FOX, "content_mode": "nsfw"}, "nsfw", "content_mode", ""),
    ({"chat": says("hi"), "content_mode": "nsfw"}, "nsfw", "content_mode", ""),
    ({"sdxl": FOX, "webhook": HOOK}, "webhooks", "webhook", ""),
    ({"chat": says("hi"), "webhook": HOOK}, "webhooks", "webhook", ""),
    ({"sdxl": FOX, "enhancement": "on"}, "enhancement", "enhancement", ""),
    ({"wan": ENHANCED}, "enhancement", "type", ""),
    ({"sdxl": FOX, "reference_use": "modify"}, "references", "reference_use", "INVALID_REQUEST"),
    (
        {"sdxl": FOX | {"metadata": {"reference_image_url": NOBODYS}}},
        "references", "metadata.reference_image_url", "ASSET_NOT_FOUND",
    ),
    ({"wan": FILM | {"config": {"image": NOBODYS}}}, "references", "config.image", "ASSET_NOT_FOUND"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "permission", "field", "otherwise"), ASKED)
async def test_a_job_is_submitted_with_the_permission_alone(
    caller: Caller, permit: Callable[..., None], request_: dict[str, Any], permission: str, field: str, otherwise: str
):
    permit(*all_but(permission))
    with lacks(permission, field):
        await caller().submit(**request_)
    permit(*all_but())
    with refused(otherwise) if otherwise else contextlib.nullcontext():
        await caller().submit(**request_)


@pytest.mark.parametrize(
    ("request_", "permission", "field"),
    [
        ({"wan": FILM}, "job.video_fast", "type"),
        ({"sdxl": FOX, "content_mode": "nsfw"}, "nsfw", "content_mode"),
        ({"sdxl": FOX, "webhook": HOOK}, "webhooks", "webhook"),
        ({"sdxl": FOX, "enhancement": "on"}, "enhancement", "enhancement"),
        ({"sdxl": FOX | {"metadata": {"reference_type": "style"}}}, "references", "metadata.reference_type"),
    ],
)
async def test_a_guest_lacks_what_the_shipped_tiers_give_to_others(
    caller: Caller, request_: dict[str, Any], permission: str, field: str
):
    with lacks(permission, field, "guest"):
        await caller("guest").submit(**request_)
    assert await caller("guest").submit(sdxl=FOX)


@pytest.mark.parametrize(("permission", "field"), [("chat", ""), ("nsfw", "content_mode")])
async def test_a_turn_is_taken_with_the_permission_alone(
    caller: Caller, permit: Callable[..., None], permission: str, field: str
):
    explicit = turn("hello")
    explicit.content_mode = NSFW
    permit(*all_but(permission))
    with lacks(permission, field):
        await chat(caller(), explicit)
    permit("chat", "nsfw")
    with refused("NO_WORKER"):  # all that is missing
        await chat(caller(), explicit)


async def as_a_guest_again(caller: Caller, job: edge_pb2.Job, permission: str, field: str) -> None:
    """Ends a job of premium: who is a guest now repeats it no more, who is not still does."""
    await caller().cancel(job.id)
    with lacks(permission, field, "guest"):
        await retry(caller("guest"), job)
    assert (await retry(caller(), job)).status == job_pb2.JOB_STATUS_QUEUED


@pytest.mark.parametrize(
    ("request_", "permission", "field"),
    [({"wan": FILM}, "job.video_fast", "type"), ({"sdxl": FOX, "webhook": HOOK}, "webhooks", "webhook")],
)
async def test_who_became_a_guest_repeats_only_what_a_guest_may(
    caller: Caller, request_: dict[str, Any], permission: str, field: str
):
    await as_a_guest_again(caller, await caller().submit(**request_), permission, field)


@pytest.mark.parametrize(
    ("worker", "names_it", "field"),
    [
        ("sdxl", lambda key: FOX | {"metadata": {"reference_image_url": key}}, "metadata.reference_type"),
        ("wan", lambda key: STILL | {"config": {"image": key}}, "config.reference_mode"),
        ("wan", lambda key: STILL | {"config": {"first_frame": key}}, "config.reference_mode"),
        ("wan", lambda key: STILL | {"config": {"last_frame": key}}, "config.reference_mode"),
    ],
)
async def test_who_became_a_guest_repeats_no_job_with_a_picture_though_its_address_is_gone(
    caller: Caller, worker: str, names_it: Callable[[str], dict[str, Any]], field: str
):
    upload = await create(caller())
    await put(upload.url)
    job = await caller().submit(**{worker: names_it(upload.asset.key)})
    planned = getattr(job, worker)
    kind = kind_of(planned)
    assert (kind.wanted_references(planned), kind.reference_keys(planned)) == ([], [upload.asset.key])
    await as_a_guest_again(caller, job, "references", field)


async def test_a_chat_job_is_repeated_by_who_may_chat_in_either_way(caller: Caller, permit: Callable[..., None]):
    job = await caller().submit(chat=says("hi"))
    await caller().cancel(job.id)
    permit(*all_but("chat", "job.chat_turn"))
    with lacks("job.chat_turn", "type"):
        await retry(caller(), job)
    for one in ("chat", "job.chat_turn"):
        permit(one)
        assert (await retry(caller(), job)).id


SEXY = "a sexy dress"  # which a rule refuses to guests alone


async def test_a_rule_for_guests_holds_for_guests(caller: Caller):
    job = await caller().submit(sdxl=FOX | {"prompt": SEXY})
    await caller().cancel(job.id)
    with refused("NO_WORKER"):
        await chat(caller(), turn(SEXY))
    guest = caller("guest")
    with refused("CONTENT_NOT_ALLOWED", "sfw.suggestive"):
        await guest.submit(sdxl=FOX | {"prompt": SEXY})
    with refused("CONTENT_NOT_ALLOWED", "sfw.suggestive"):
        await chat(guest, turn(SEXY))
    with refused("CONTENT_NOT_ALLOWED", "sfw.suggestive"):
        await retry(guest, job)
    assert await retry(caller(), job)


NUDE = "a nude woman, oil painting"


async def test_an_account_that_its_issuer_holds_to_be_sfw_is_that_whatever_its_tier(caller: Caller):
    explicit = turn(NUDE)
    explicit.content_mode = NSFW
    made = await caller(atelier_content_mode="nsfw").submit(sdxl=FOX, content_mode="nsfw")
    await caller().cancel(made.id)
    with refused("NO_WORKER"):
        await chat(caller(), explicit)
    strict = caller(atelier_content_mode="sfw")
    with refused("CONTENT_NOT_ALLOWED"):
        await strict.submit(sdxl=FOX | {"prompt": NUDE}, content_mode="nsfw")
    with refused("CONTENT_NOT_ALLOWED"):
        await chat(strict, explicit)
    with refused("PERMISSION_DENIED", "the job was made as nsfw, and you may have sfw at most"):
        await retry(strict, made)
    job = await strict.submit(sdxl=FOX, content_mode="nsfw")
    assert (made.content_mode, job.content_mode) == (NSFW, SFW)
    assert [(getattr(each, "from"), each.to) for each in job.decisions if each.notable] == [("nsfw", "sfw")]


async def shown_modes(calls: Calls) -> tuple[int, list[int]]:
    """The modes that the account and the catalogue of a caller tell of."""
    account = await calls.account.GetAccount(edge_pb2.GetAccountRequest(), metadata=calls.metadata)
    catalog = await calls.catalog.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=calls.metadata)
    return account.content_mode, list(catalog.content_modes)


async def test_account_and_catalogue_tell_the_modes_that_the_account_may_have(caller: Caller):
    assert await shown_modes(caller()) == (NSFW, [SFW, NSFW])
    assert await shown_modes(caller("basic")) == (SFW, [SFW])
    assert await shown_modes(caller(atelier_content_mode="sfw")) == (SFW, [SFW])


async def permitted(calls: Calls) -> set[str]:
    """The job types of which the catalogue says that the caller may ask for them."""
    found = await calls.catalog.GetCatalog(edge_pb2.GetCatalogRequest(), metadata=calls.metadata)
    assert len(found.job_types) == len(EVERY_JOB)
    return {entry.name for entry in found.job_types if entry.permitted}


async def test_the_catalogue_tells_which_job_types_the_caller_may_ask_for(caller: Caller, permit: Callable[..., None]):
    assert await permitted(caller("guest")) == {"sdxl_image_fast", "sdxl_image_high", "image_fast", "chat_turn"}
    permit("worker.sdxl", "job.video_*")
    assert await permitted(caller()) == {"sdxl_image_fast", "sdxl_image_high", "video_fast", "video_high"}


async def permissions(calls: Calls) -> list[str]:
    account = await calls.account.GetAccount(edge_pb2.GetAccountRequest(), metadata=calls.metadata)
    return sorted(account.permissions)


BY_JOBS = sorted(all_but("chat", "fleet", "keys"))  # of use to whoever may submit jobs


@pytest.mark.parametrize(
    ("tier", "scopes", "expected"),
    [
        ("premium", "jobs.write chat", sorted([*BY_JOBS, "chat"])),
        ("premium", "jobs.write", BY_JOBS),
        ("premium", "chat", ["chat"]),
        ("premium", "jobs.read assets.write", []),
        ("premium", "fleet.read fleet.write keys", []),
        ("admin", "fleet.read", ["fleet"]),
        ("admin", "keys", ["keys"]),
    ],
)
async def test_an_account_tells_the_permissions_that_its_token_covers(
    caller: Caller, tier: str, scopes: str, expected: list[str]
):
    assert await permissions(caller(tier, scope=f"account {scopes}")) == expected


async def test_an_account_tells_a_key_what_the_key_covers(caller: Caller, trusting: tuple[grpc.aio.Channel, Key]):
    request = edge_pb2.CreateKeyRequest(name="for chat", scopes=["account", "chat"])
    made = await caller().account.CreateKey(request, metadata=caller().metadata)
    assert await permissions(Calls(trusting[0], made.secret)) == ["chat"]
