"""Whether the texts of a request may be used: first the refusal that nobody can switch off, then the rules of a mode.

Everything a model is told passes here: as it was sent, with the words that policies add, and after enhancement.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_service.accounts.audit import Audit, Entry
from edge_service.adapters.limiter import PerOwnerLimiter
from edge_service.moderation import minors as safety
from edge_service.moderation import rules as content
from edge_service.moderation.classifier import Classifier, classify
from edge_service.moderation.weight_variants import with_readings
from edge_service.planning.enhancement_templates import mode_word
from edge_service.policy import current
from shared.errors import ContentForbidden, ContentNotAllowed, reason_word
from shared.pb.atelier.edge.v1 import edge_pb2

# Longer texts take so many milliseconds that other calls should not wait for them.
LONG = 2000


def is_long(texts: Mapping[str, str]) -> bool:
    """Whether the texts take so long to moderator."""
    return sum(map(len, texts.values())) > LONG


@dataclass
class Moderator:
    """Judges the texts of one request. `subject` is its job type; `secret` keeps digests from being guessed."""

    audit: Audit
    owner: str
    subject: str
    mode: "edge_pb2.ContentMode"
    tier: str
    worker_type: str
    secret: bytes
    classifier: Classifier
    limiter: PerOwnerLimiter
    """At judging long texts: a thread that judges leaves the others, and the calls of everybody, half of the time."""
    _passed: tuple[dict[str, str], str] | None = field(default=None, init=False)

    async def passes(self, texts: Mapping[str, str]) -> str:
        """What the texts passed, in words: the rules, and the policy's classifier. What has passed is not looked at
        again. Raises ContentForbidden, ContentNotAllowed.
        """
        spoken = _spoken(texts)
        if self._passed and self._passed[0] == spoken:
            return self._passed[1]
        read = self._as_read(spoken)
        if is_long(read):
            async with self.limiter.slot(self.owner):
                rules = await asyncio.to_thread(self._rules, read)
        else:
            rules = self._rules(read)
        classified = await classify(read, mode_word(self.mode), self.classifier)
        self._passed = spoken, "; ".join(filter(None, (rules, classified)))
        return self._passed[1]

    def _rules(self, read: Mapping[str, str]) -> str:
        safety.refuse(read)
        return content.check(read, mode_word(self.mode), self.tier, self.worker_type)

    def _as_read(self, texts: Mapping[str, str]) -> dict[str, str]:
        if self.worker_type != "sdxl":
            return dict(texts)
        return with_readings(texts)

    async def check(self, texts: Mapping[str, str], action: str = "request.refused") -> str:
        """The same, with a line in the audit log for a refusal: who was refused what, a digest, never the text."""
        try:
            return await self.passes(texts)
        except (ContentForbidden, ContentNotAllowed) as error:
            digest = safety.digest(_spoken(texts), self.secret)
            entry = Entry(self.owner, action, self.subject, reason_word(error), digest, current().version)
            await self.audit.record(entry)
            raise


def _spoken(texts: Mapping[str, str]) -> dict[str, str]:
    return {place: text for place, text in texts.items() if text}
