"""What people tune, as data: the YAML files of `policies/`, each with a pydantic model as its schema."""

from functools import cache
from importlib.resources import files
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """The schema of a part of a policy: nothing unknown is taken, nothing changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


M = TypeVar("M", bound=Strict)


def policy(name: str, model: type[M]) -> M:
    """The policy `policies/{name}.yaml` that is in force. Ask again for each request: it may change."""
    loaded = _load(name, model)
    assert isinstance(loaded, model)
    return loaded


@cache
def _load(name: str, model: type[Strict]) -> Strict:
    text = (files("edge_service") / "policies" / f"{name}.yaml").read_text()
    return model.model_validate(yaml.safe_load(text))
