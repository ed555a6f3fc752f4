"""The table of templates in `policies/enhancement.yaml`: what a chat model is asked in order to improve a prompt."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.content_mode import Mode, mode_word
from edge_service.domain.kinds import KINDS
from edge_service.domain.kinds.kind import ChatModel
from edge_service.policy import Strict, policy

SLOT = "{prompt}"
CHAT_MODELS: tuple[ChatModel, ...] = ("qwen_instruct", "qwen_base")
# So many words in a row come twice by no accident.
RUN = 6


def _one_slot(text: str) -> str:
    if (slots := re.findall(r"\{\w*\}", text)) != [SLOT]:
        raise ValueError(f"must have {SLOT} exactly once and nothing else in braces, has {', '.join(slots) or 'none'}")
    return text


def _goes_on(text: str) -> str:
    if text != text.rstrip():
        raise ValueError("must not end with a space or an empty line: the model goes on where it ends")
    return text


Phrase = Annotated[str, Field(pattern=r"\w")]
WithSlot = Annotated[str, AfterValidator(_one_slot)]


class Instruction(Strict):
    """For a model that follows instructions: it answers with the new prompt."""

    system: str = Field(min_length=1)
    user: WithSlot

    @property
    def text(self) -> str:
        """All that must not come back."""
        return f"{self.system}\n{self.user}"

    def messages(self, prompt: str) -> list[chat_pb2.ChatMessage]:
        user = self.user.replace(SLOT, prompt)
        return [_message(chat_pb2.CHAT_ROLE_SYSTEM, self.system), _message(chat_pb2.CHAT_ROLE_USER, user)]

    def answer(self, said: str) -> str:
        """The new prompt in what the model said, without the quotation marks it may stand in."""
        quoted = re.fullmatch(r'["\u201c]([^"\u201c\u201d]*)["\u201d]', said.strip())
        return quoted[1].strip() if quoted else said.strip()

    def enough(self, said: str) -> bool:
        """Whether what was said so far is all that is wanted: only the model knows."""
        return False


class Continuation(Strict):
    """For a model that continues text: what it goes on with is the new prompt, to the end of the line at the longest.

    Such a model does not stop by itself, and a small one turns in circles: what it repeats is no part of the prompt."""

    text: Annotated[WithSlot, AfterValidator(_goes_on)]

    def messages(self, prompt: str) -> list[chat_pb2.ChatMessage]:
        # On one line: a prompt with lines of its own could go on with what looks like the template.
        text = self.text.replace(SLOT, " ".join(prompt.split()))
        return [_message(chat_pb2.CHAT_ROLE_USER, text)]

    def answer(self, said: str) -> str:
        """The new prompt in what the model said."""
        line = said.strip().partition("\n")[0]
        if (start := repeats(line)) is None:
            return line
        ends = [end.start() for end in re.finditer(r"[,.;]", line[:start])]
        return line[: ends[-1]] if ends else ""

    def enough(self, said: str) -> bool:
        """Whether what was said so far is all that is wanted: the line has ended, or it repeats itself."""
        return "\n" in said.lstrip() or repeats(said) is not None


Template = Instruction | Continuation


def repeats(text: str) -> int | None:
    """Where a text begins to say again what it has said, a run of words at the least; None if it does not."""
    words = list(re.finditer(r"\w+", text.lower()))
    seen: set[tuple[str, ...]] = set()
    for place in range(len(words) - RUN + 1):
        run = tuple(word[0] for word in words[place : place + RUN])
        if run in seen:
            return words[place].start()
        seen.add(run)
    return None


def _message(role: chat_pb2.ChatRole, content: str) -> chat_pb2.ChatMessage:
    return chat_pb2.ChatMessage(role=role, content=content)


class Enhancement(Strict):
    """The whole table. `refusals` and `talk` are what an answer is known by that is no prompt."""

    version: int
    seconds: float = Field(gt=0, le=60)
    share: float = Field(gt=0, le=1)
    waiting: int = Field(ge=0)
    max_tokens: int = Field(ge=100, le=2048)
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(ge=0, le=1)
    max_characters: int = Field(ge=1, le=1000)
    refusals: list[Phrase]
    talk: list[Phrase]
    qwen_instruct: dict[str, dict[Mode, Instruction]]
    qwen_base: dict[str, dict[Mode, Continuation]]

    @model_validator(mode="after")
    def _names_job_types(self) -> "Enhancement":
        for kind in KINDS.values():
            for name in self._of(kind.enhanced_by) if kind.enhanced_by else ():
                if name not in kind.type_names:
                    known = ", ".join(kind.type_names)
                    raise ValueError(f"{kind.enhanced_by}: must name job types of {known}, got '{name}'")
        return self

    @model_validator(mode="after")
    def _keeps_modes_apart(self) -> "Enhancement":
        for model in CHAT_MODELS:
            if self._texts(model, "sfw") & self._texts(model, "nsfw"):
                raise ValueError(f"{model}: a template of one content mode must not be that of the other as well")
        return self

    def _texts(self, model: ChatModel, mode: Mode) -> set[str]:
        return {modes[mode].text for modes in self._of(model).values() if mode in modes}

    def _of(self, model: ChatModel) -> Mapping[str, Mapping[Mode, Template]]:
        return self.qwen_instruct if model == "qwen_instruct" else self.qwen_base

    def template(self, model: ChatModel, type_name: str, mode: edge_pb2.ContentMode) -> Template | None:
        """The template of exactly this mode; None if there is none. Another mode's is never taken for it."""
        return self._of(model).get(type_name, {}).get(mode_word(mode))


def enhancement() -> Enhancement:
    """The table that is in force."""
    return policy("enhancement", Enhancement)
