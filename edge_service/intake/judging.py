"""Whether the texts of a request may be used: first the refusal that nobody can switch off, then the rules of a mode.

Everything a model is told passes here: as it was sent, with the words that policies add, and after enhancement.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_service.audit import Audit, Entry
from edge_service.intake import content, safety
from edge_service.intake.templates import mode_word
from edge_service.policy import current
from shared.errors import ContentForbidden, ContentNotAllowed, reason_word
from shared.pb.atelier.edge.v1 import edge_pb2


@dataclass(frozen=True)
class Judge:
    """Judges the texts of one request. `subject` is its job type; `secret` keeps digests from being guessed."""

    audit: Audit
    owner: str
    subject: str
    mode: "edge_pb2.ContentMode"
    tier: str
    worker_type: str
    secret: bytes

    def judge(self, texts: Mapping[str, str]) -> str:
        """The rules that the texts passed, in words. Raises ContentForbidden, ContentNotAllowed."""
        safety.refuse(texts)
        return content.check(texts, mode_word(self.mode), self.tier, self.worker_type)

    async def check(self, texts: Mapping[str, str]) -> str:
        """The same, with a line in the audit log for what is refused: a digest, never the text."""
        try:
            return self.judge(texts)
        except (ContentForbidden, ContentNotAllowed) as error:
            digest = safety.digest(texts, self.secret)
            entry = Entry(self.owner, "request.refused", self.subject, reason_word(error), digest, current().version)
            await self.audit.record(entry)
            raise
