"""The table of tiers: what stands in it is one of the things there are, and has a size."""

from itertools import pairwise
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.tiers import ABILITIES, Tier, Tiers, tiers
from edge_service.domain.job_types import job_types

SHIPPED = tiers().tiers


def written(**changes: Any) -> Tiers:
    """A table with "basic" with changes and the tier that no table goes without."""
    table = tiers().model_dump()
    return Tiers.model_validate(
        table | {"tiers": {"changed": table["tiers"]["basic"] | changes, "admin": table["tiers"]["admin"]}}
    )


def tier(*permissions: str) -> Tier:
    return written(permissions=permissions).tiers["changed"]


def test_the_shipped_tiers_are_these_and_know_their_names():
    assert [(name, entry.name) for name, entry in SHIPPED.items()] == [
        (name, name) for name in ("guest", "basic", "premium", "admin")
    ]


def test_every_shipped_permission_allows_something():
    assert list(tiers().idle_permissions(job_types())) == []


def test_a_permission_for_no_job_type_is_found():
    table = written(permissions=["job.vidoe_*", "job.video_fast", "worker.sdlx", "worker.sdxl", "chat"])
    assert list(table.idle_permissions(job_types())) == [("changed", "job.vidoe_*"), ("changed", "worker.sdlx")]


@pytest.mark.parametrize("word", ["sing", "job.", "job.Video", "nsfw2", "*", "worker.*", "job.video_fast "])
def test_a_permission_that_there_is_not_is_refused(word: str):
    with pytest.raises(ValidationError, match="permissions"):
        tier(word)


@pytest.mark.parametrize("name", type(SHIPPED["basic"].quotas).model_fields)
def test_every_quota_must_have_a_size(name: str):
    whole = SHIPPED["basic"].quotas.model_dump()
    for quotas in ({key: size for key, size in whole.items() if key != name}, whole | {name: 0}, whole | {name: None}):
        with pytest.raises(ValidationError, match=name):
            written(quotas=quotas)


def test_an_unknown_quota_is_refused():
    with pytest.raises(ValidationError, match="job_per_day"):
        written(quotas=SHIPPED["basic"].quotas.model_dump() | {"job_per_day": 5})


def test_a_job_type_is_allowed_by_name_by_pattern_or_by_its_worker():
    assert tier("job.video_fast").allows_job("video_fast", "wan")
    assert tier("job.video_*").allows_job("video_high", "wan")
    assert tier("worker.wan").allows_job("video_high", "wan")
    assert tier("job.*").allows_job("chat_turn", "chat")
    assert not tier("job.video_fast", "worker.sdxl", "chat").allows_job("video_high", "wan")


def test_permissions_are_told_by_name():
    granted = tier("worker.sdxl", "job.video_*", "nsfw", "chat").granted(job_types())
    assert granted == ["job.sdxl_image_fast", "job.sdxl_image_high", "job.video_fast", "job.video_high", "chat", "nsfw"]
    everything = [f"job.{name}" for name in job_types()] + list(ABILITIES)
    assert SHIPPED["admin"].granted(job_types()) == everything


def test_the_most_explicit_content_is_what_the_permission_says():
    assert tier("job.*").content_mode == edge_pb2.CONTENT_MODE_SFW
    assert tier("job.*", "nsfw").content_mode == edge_pb2.CONTENT_MODE_NSFW


def test_each_tier_may_use_at_least_what_the_one_below_may():
    order = list(SHIPPED.values())
    for lower, higher in pairwise(order):
        assert set(lower.granted(job_types())) <= set(higher.granted(job_types()))
        for name in ("requests_per_minute", "max_running", "jobs_per_day", "credits_per_period", "storage_bytes"):
            assert getattr(lower.quotas, name) < getattr(higher.quotas, name)


def test_nobody_locks_the_developer_out():
    table = tiers().model_dump()
    del table["tiers"]["admin"]
    with pytest.raises(ValidationError, match="admin is missing, which is the tier of the developer token"):
        Tiers.model_validate(table)


def test_the_name_of_a_tier_is_its_key():
    text = "guest: {name: admin}"
    with pytest.raises(ValidationError) as refused:
        Tiers.model_validate({"version": 1, "ageing_seconds": 1, "max_queued_by_all": 1, "tiers": yaml.safe_load(text)})
    assert "tiers.guest" in str(refused.value)
