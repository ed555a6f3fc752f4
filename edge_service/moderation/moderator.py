"""Moderation of the texts of one request: the hard refusal, then the rules of a content mode, then the classifier.

Everything a model is told passes here once it is final: as it was sent, with the words that policies add, and whatever
enhancement changes of it afterwards.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_service.accounts.audit import Audit, Entry
from edge_service.adapters.limiter import PerOwnerLimiter
from edge_service.domain.content_mode import mode_word
from edge_service.domain.kinds import KINDS
from edge_service.moderation import minors, rules
from edge_service.moderation.classifier import Classifier, classify
from edge_service.moderation.weight_variants import with_readings
from edge_service.policy import current
from shared.errors import ContentForbidden, ContentNotAllowed, reason_word
from shared.pb.atelier.edge.v1 import edge_pb2

# Longer texts take so many milliseconds that other calls should not wait for them.
LONG = 2000


def is_long(texts: Mapping[str, str]) -> bool:
    """Whether reading the texts takes so long that other calls should not wait for it."""
    return sum(map(len, texts.values())) > LONG


@dataclass
class Moderator:
    """Moderates the texts of one request. `subject` is its job type; `secret` keeps digests from being guessed."""

    audit: Audit
    owner: str
    subject: str
    mode: "edge_pb2.ContentMode"
    tier: str
    worker_type: str
    secret: bytes
    classifier: Classifier
    limiter: PerOwnerLimiter
    """For long texts: a thread that reads them leaves all other calls half of the time."""
    _passed: dict[frozenset[tuple[str, str]], str] = field(default_factory=dict, init=False)

    async def check(self, texts: Mapping[str, str], action: str = "request.refused") -> str:
        """What the texts by field passed, in words. The same texts are read once, however often they are checked.

        Raises ContentForbidden, ContentNotAllowed. A refusal is a line in the audit log: who was refused what, and a
        digest, never the text.
        """
        spoken = {place: text for place, text in texts.items() if text}
        known = frozenset(spoken.items())
        if known not in self._passed:
            try:
                self._passed[known] = await self._moderate(spoken)
            except (ContentForbidden, ContentNotAllowed) as error:
                digest = minors.digest(spoken, self.secret)
                entry = Entry(self.owner, action, self.subject, reason_word(error), digest, current().version)
                await self.audit.record(entry)
                raise
        return self._passed[known]

    async def _moderate(self, spoken: dict[str, str]) -> str:
        texts = with_readings(spoken) if KINDS[self.worker_type].weights_prompts else spoken
        if is_long(texts):
            async with self.limiter.slot(self.owner):
                passed = await asyncio.to_thread(self._read, texts)
        else:
            passed = self._read(texts)
        classified = await classify(texts, mode_word(self.mode), self.classifier)
        return "; ".join(filter(None, (passed, classified)))

    def _read(self, texts: Mapping[str, str]) -> str:
        minors.refuse(texts)
        return rules.check(texts, mode_word(self.mode), self.tier, self.worker_type)
