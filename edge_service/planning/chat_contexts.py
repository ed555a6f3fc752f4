"""The table of chat contexts in `policies/contexts.yaml`: the system prompt of each, by content mode."""

from pydantic import Field, model_validator

from atelier.contracts.errors import InvalidRequest, Violation
from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.content_mode import mode_word
from edge_service.policy import Strict, policy

DEFAULT = "conversation"
# The longest that a message may be.
MAX_CHARACTERS = 32768


class Context(Strict):
    """One context. Without a prompt for nsfw, everything in it is safe for work."""

    description: str = Field(min_length=1)
    sfw: str = Field(min_length=1, max_length=MAX_CHARACTERS)
    nsfw: str = Field("", max_length=MAX_CHARACTERS)

    @model_validator(mode="after")
    def _keeps_modes_apart(self) -> "Context":
        if self.sfw == self.nsfw:
            raise ValueError("the prompt of one content mode must not be that of the other")
        return self

    def mode(self, mode: edge_pb2.ContentMode) -> "edge_pb2.ContentMode":
        """The stricter of a mode and the context's own."""
        return mode if self.nsfw and mode_word(mode) == "nsfw" else edge_pb2.CONTENT_MODE_SFW

    def prompt(self, mode: edge_pb2.ContentMode) -> str:
        """The system prompt of a mode."""
        return self.nsfw if self.mode(mode) == edge_pb2.CONTENT_MODE_NSFW else self.sfw


class Contexts(Strict):
    """The whole table."""

    version: int
    contexts: dict[str, Context]

    @model_validator(mode="after")
    def _has_the_default(self) -> "Contexts":
        if DEFAULT not in self.contexts:
            raise ValueError(f"contexts: must have one of the name {DEFAULT}, which is meant where none is named")
        return self

    def context(self, name: str) -> Context:
        """The context of a request that names it so. Raises InvalidRequest for a name that is none."""
        if (found := self.contexts.get(name or DEFAULT)) is None:
            raise InvalidRequest(Violation("context", f"must be one of {', '.join(self.contexts)}, got '{name}'"))
        return found


def contexts() -> Contexts:
    """The table that is in force."""
    return policy("contexts", Contexts)
