"""Moderation of the texts of one request: the hard refusal, then the rules of a content mode, then the classifier.

Everything a model is told passes here once it is final: as it was sent, with the words that policies add, and whatever
enhancement changes of it afterwards.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from atelier.contracts.errors import ContentForbidden, ContentNotAllowed, reason_word
from atelier.pb.edge.v1 import edge_pb2
from edge_service.accounts.audit import Audit, Entry
from edge_service.adapters.limiter import PerOwnerLimiter
from edge_service.domain.content_mode import mode_word
from edge_service.domain.kinds import KINDS, WorkerJob, kind_of
from edge_service.domain.principal import Principal
from edge_service.fleet.chat_client import ChatWorkers
from edge_service.moderation import minors, rules
from edge_service.moderation.classifier import Classifier, by_chat, classify
from edge_service.moderation.rules import content
from edge_service.moderation.text_fields import texts_of
from edge_service.moderation.weight_variants import with_readings
from edge_service.policy import current

# Longer texts take so many milliseconds that other calls should not wait for them.
LONG = 2000


def is_long(texts: Mapping[str, str]) -> bool:
    """Whether reading the texts takes so long that other calls should not wait for it."""
    return sum(map(len, texts.values())) > LONG


class Moderation:
    """Makes a moderator for each request."""

    def __init__(self, audit: Audit, chat: ChatWorkers) -> None:
        self._audit, self._chat = audit, chat
        # For long texts: a thread that reads them leaves all other calls half of the time.
        self._limiter = PerOwnerLimiter(1, 1)
        self.secret = b""
        """Keeps the digests of the audit log from being guessed; set once the database, which has it, is open."""

    def of(self, caller: Principal, job: WorkerJob, mode: "edge_pb2.ContentMode") -> "Moderator":
        """The moderator of one request of a caller, in the content mode that holds for it."""
        subject = Subject(caller.user_id, caller.tier, kind_of(job).worker_type, kind_of(job).type_name(job), mode)
        return Moderator(self._audit, subject, self.secret, by_chat(self._chat, caller.user_id), self._limiter)


def is_slow(job: WorkerJob) -> bool:
    """Whether moderating a job takes so long that it is worth finding out first whether it would be refused anyway."""
    return content().classification is not None or is_long(texts_of(job))


class Subject(NamedTuple):
    """Whose texts are moderated, and for what."""

    owner: str
    tier: str
    worker_type: str
    type_name: str
    mode: "edge_pb2.ContentMode"


@dataclass
class Moderator:
    """Moderates the texts of one request. `secret` keeps digests from being guessed."""

    audit: Audit
    subject: Subject
    secret: bytes
    classifier: Classifier
    limiter: PerOwnerLimiter
    _passed: dict[frozenset[tuple[str, str]], str] = field(default_factory=dict, init=False)

    async def check_job(
        self, job: WorkerJob, extra: Mapping[str, str] | None = None, action: str = "request.refused"
    ) -> str:
        """The same for every text of a job, and for those of `extra`, which are added to it or replace one of them."""
        return await self.check(texts_of(job, extra), action)

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
                entry = Entry(
                    self.subject.owner, action, self.subject.type_name, reason_word(error), digest, current().version
                )
                await self.audit.record(entry)
                raise
        return self._passed[known]

    async def _moderate(self, spoken: dict[str, str]) -> str:
        texts = with_readings(spoken) if KINDS[self.subject.worker_type].weights_prompts else spoken
        if is_long(texts):
            async with self.limiter.slot(self.subject.owner):
                passed = await asyncio.to_thread(self._read, texts)
        else:
            passed = self._read(texts)
        mode, asked = mode_word(self.subject.mode), content().classification
        if asked is None or mode not in asked.modes:
            return passed
        return f"{passed}; {await classify(texts, mode, self.classifier)}"

    def _read(self, texts: Mapping[str, str]) -> str:
        minors.refuse(texts)
        return rules.check(texts, mode_word(self.subject.mode), self.subject.tier, self.subject.worker_type)
