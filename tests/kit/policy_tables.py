"""Policies as they are, with a part of them changed."""

from importlib.resources import files
from typing import Any

import yaml

from edge_service.planning.enhancement_templates import Enhancement


def data(name: str) -> dict[str, Any]:
    """The content of a policy file, free to be changed. No two parts of it are the same object."""
    text = (files("edge_service") / "policies" / f"{name}.yaml").read_text()
    loaded: dict[str, Any] = _copied(yaml.safe_load(text))
    return loaded


def _copied(value: Any) -> Any:
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def without(model: str, type_name: str, mode: str) -> Enhancement:
    """The table of templates without one."""
    changed = data("enhancement")
    del changed[model][type_name][mode]
    return Enhancement.model_validate(changed)
