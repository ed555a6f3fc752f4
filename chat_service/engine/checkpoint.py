"""A model's files -> weights and tokenizer, what it can do, and the batch that its requests share."""

import itertools
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from atelier.contracts.errors import EngineFailed, ModelUnusable
from chat_service.engine.answer import Made
from chat_service.engine.batch import Batch
from chat_service.engine.interface import ChatTurn, TextRequest
from chat_service.engine.prompt import Prompts
from shared.torch.checkpoints import HUB_ID, first_line
from shared.worker.engine import OnChange
from shared.worker.tokens import TokenCount

log = logging.getLogger(__name__)

SELF_TEST_SECONDS = 300.0


class Checkpoint:
    """Loaded weights, their tokenizer and the batch that generates with them."""

    def __init__(
        self,
        source: str,
        device: torch.device,
        dtype: torch.dtype,
        slots: int,
        context_tokens: int,
        on_change: OnChange,
        on_death: Callable[[], None],
    ) -> None:
        """Reads the files. Raises ModelUnusable. For the listeners see TransformersEngine."""
        self.source = source
        self.real_name = _real_name(source)
        self.model, self.tokenizer = _load(source, device, dtype)
        own_context = getattr(self.model.config.get_text_config(), "max_position_embeddings", context_tokens)
        self.context_tokens = min(own_context, context_tokens)
        self.stop_tokens = _stop_tokens(self.model.generation_config.eos_token_id, self.tokenizer.eos_token_id)
        self._prompts = Prompts(self.tokenizer, self.context_tokens)
        self._slots = slots
        self._on_change, self._on_death = on_change, on_death
        self._keys = itertools.count()
        self.batch: Batch | None = None
        self._started = self._closing = False
        # Held while the batch is replaced or stopped, so that none is started once it is closing.
        self._changing = threading.Lock()

    def start(self) -> None:
        """Starts generating; returns after one token was made. Raises ModelUnusable."""
        self._started = False
        with self._changing:
            if self._closing:
                raise EngineFailed("the engine is closed")
            batch = self.batch = Batch(self.model, self.stop_tokens, self._slots, self.context_tokens)
        threading.Thread(target=self._watch, args=(batch,), daemon=True).start()
        self._self_test(batch)
        self._started = True

    def _self_test(self, batch: Batch) -> None:
        made: queue.SimpleQueue[Made] = queue.SimpleQueue()
        # Sampled, because drawing refuses the not-a-numbers of a broken model, which the greedy choice would pass.
        hello = TextRequest("self-test", (ChatTurn("user", "Hello"),), 1, temperature=1.0, top_p=1.0, model="qwen_base")
        try:
            with self.submit(self.read(hello), hello, made.put):
                if failure := made.get(timeout=SELF_TEST_SECONDS).failure:
                    raise EngineFailed(failure)
        except (EngineFailed, queue.Empty) as error:
            cause = batch.fatal_error or error
            raise ModelUnusable(f"{self.source}: cannot generate: {first_line(cause)}") from cause

    def _watch(self, batch: Batch) -> None:
        """Waits for the generation thread to end; if it was not told to, fails what is running and starts it again."""
        batch.wait()
        if self._started and not self._closing:
            log.critical("generation stopped; starting it again", extra={"error_id": batch.error_id})
            self._on_change(False)
            batch.free_cache()
            self._start_again()

    def _start_again(self) -> None:
        try:
            self.start()
            self._on_change(True)
        except Exception:
            if not self._closing:
                log.critical("generation cannot be started again", exc_info=True)
                self._on_death()

    def close(self) -> None:
        """Stops generation; what is running fails. Blocks until the thread has ended."""
        self._closing = True
        with self._changing:
            if self.batch:
                self.batch.stop()

    def read(self, request: TextRequest) -> list[int]:
        """The tokens of the prompt. Raises InputTooLong and InvalidRequest."""
        messages = [(turn.role, turn.content) for turn in request.messages]
        read = self._prompts.plain if request.model == "qwen_base" else self._prompts.chat
        return read(messages, request.max_tokens)

    def count(self, name: str, texts: Sequence[str]) -> TokenCount:
        """How many tokens the contents of messages have for a logical model."""
        added = self._prompts.added_to_a_line if name == "qwen_base" else self._prompts.added_by_template
        return TokenCount("chat", self._prompts.lengths(texts), self.context_tokens, added)

    @contextmanager
    def submit(self, prompt: list[int], request: TextRequest, receive: Callable[[Made], None]) -> Iterator[None]:
        """Puts a request into the batch; leaving the block before its end takes it out. Raises EngineFailed."""
        assert self.batch
        key = f"{request.request_id}#{next(self._keys)}"
        with self.batch.submit(key, prompt, request, receive):
            yield


def _stop_tokens(*found: int | list[int] | None) -> frozenset[int]:
    lists = [tokens if isinstance(tokens, list) else [tokens] for tokens in found]
    return frozenset(token for tokens in lists for token in tokens if token is not None)


def _load(source: str, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """The model on its device and its tokenizer. Raises ModelUnusable."""
    if not Path(source).is_dir() and not HUB_ID.fullmatch(source):
        raise ModelUnusable(f"{source}: no such folder")
    _quiet_the_library()
    return _load_weights(source, device, dtype), _load_tokenizer(source)


def _load_weights(source: str, device: torch.device, dtype: torch.dtype) -> Any:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        model, report = loaded[0].to(device), loaded[1]
    except Exception as error:  # many libraries, many exceptions; to the operator each means the same
        raise ModelUnusable(f"{source}: {first_line(error)}") from error
    # The library fills both kinds with random numbers.
    if report["missing_keys"]:
        raise ModelUnusable(f"{source}: weights are missing, such as {min(report['missing_keys'])}")
    if report["mismatched_keys"]:
        raise ModelUnusable(f"{source}: weights have the wrong size, such as {min(report['mismatched_keys'])[0]}")
    return model


def _load_tokenizer(source: str) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        raise ModelUnusable(f"{source}: has no usable tokenizer") from error
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelUnusable(f"{source}: has no tokenizer.json")
    return tokenizer


def _quiet_the_library() -> None:
    disable_progress_bar()
    set_verbosity_error()  # what it warns of is refused here
    batching = logging.getLogger("ContinuousBatchingLogger")
    batching.handlers.clear()  # prints in a form of its own
    batching.propagate = True


def _real_name(source: str) -> str:
    """The name a checkpoint gives itself, or its hub id, or its folder's name."""
    folder = Path(source)
    if not folder.is_dir():
        return source
    try:
        own = str(json.loads((folder / "config.json").read_text()).get("_name_or_path", ""))
    except (OSError, ValueError, AttributeError):
        own = ""
    # With a slash in it, it is where the checkpoint was trained from, which is another model.
    return own if own and "/" not in own else folder.resolve().name
