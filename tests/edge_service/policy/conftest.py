"""Fixtures that change policies."""

from tests.kit.policy_folder import _what_was_in_force_is_again, changed, folder

__all__ = ["_what_was_in_force_is_again", "changed", "folder"]
