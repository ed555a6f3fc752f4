"""The real chat engine, on transformers' continuous batching.

Every running request shares the forward passes of one generation thread per checkpoint; a request joins and leaves
the batch between two tokens, and each has its own temperature and top_p.
"""

import asyncio
import itertools
import json
import logging
import math
import queue
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    ContinuousBatchingConfig,
    GenerationConfig,
    TemperatureLogitsWarper,
)
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingTemperatureLogitsWarper
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.continuous_batching.requests import GenerationOutput, RequestStatus
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from atelier.contracts.errors import EngineFailed, ModelUnusable
from chat_service.answer import Answer, Made
from chat_service.prompt import Prompts
from chat_service.seam import ChatTurn, Delta, Finished, LoadedModel, ModelName, TextRequest
from shared import engine
from shared.model_files import HUB_ID, first_line
from shared.tokens import TokenCount

log = logging.getLogger(__name__)

PAGE_TOKENS = 64  # granularity of the key/value cache, and of the prefixes that requests share
STEP_TOKENS = 256  # most tokens of one forward pass: a long prompt is read in pieces, between the tokens of others
SLOT_TOKENS = 1024  # cache room that every slot can count on
SELF_TEST_SECONDS = 300.0
# Below this a temperature decides nothing that float32 can tell from greedy, and dividing by it would overflow.
COLDEST = 1e-6


class TransformersEngine:
    """The `Engine` that answers: one checkpoint per distinct source, loaded once however many models use it.

    `sources` maps logical names to a folder or a hub id; `context_tokens` bounds the context below the model's own.
    Creating it loads and self-tests, which blocks; raises ModelUnusable. `close` it, or its threads keep the process.

    A crash of generation fails what is running and starts it again on the same weights: `on_change` hears False, then
    True. If that does not work, it hears only False, and then `on_death`. Both are called from other threads.
    """

    def __init__(
        self,
        sources: Mapping[ModelName, str],
        *,
        device: str = "auto",
        dtype: str = "auto",
        slots: int = 8,
        context_tokens: int = 8192,
        on_change: Callable[[bool], None] = lambda ready: None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        place = engine.choose_device(device)
        listeners = (on_change, on_death)
        loaded = {
            source: _Checkpoint(source, place, engine.choose_dtype(dtype, place), slots, context_tokens, *listeners)
            for source in dict.fromkeys(sources.values())
        }
        self._by_name = {name: loaded[source] for name, source in sources.items()}
        self._checkpoints = list(loaded.values())
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        instruct = self._by_name.get("qwen_instruct")
        if instruct and not instruct.tokenizer.chat_template:
            raise ModelUnusable(f"{instruct.source}: has no chat template, so it cannot serve qwen_instruct")
        for checkpoint in self._checkpoints:
            checkpoint.start()

    def close(self) -> None:
        for checkpoint in self._checkpoints:
            checkpoint.close()

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        return tuple(LoadedModel(name, c.real_name, c.context_tokens) for name, c in self._by_name.items())

    @property
    def device(self) -> str:
        return str(self._checkpoints[0].model.device)

    @property
    def dtype(self) -> str:
        return str(self._checkpoints[0].model.dtype).removeprefix("torch.")

    def vram_used_mb(self) -> int:
        device = self._checkpoints[0].model.device
        return engine.peak_memory_mb(device)

    def device_memory_mb(self) -> tuple[int, int]:
        device = self._checkpoints[0].model.device
        return engine.device_memory_mb(device)

    def count_tokens(self, model: ModelName, texts: Sequence[str]) -> list[TokenCount]:
        return [self._by_name[model].count(model, texts)]

    async def generate(self, request: TextRequest) -> AsyncGenerator[Delta | Finished, None]:
        started = time.monotonic()
        checkpoint = self._by_name[request.model]
        # Off the event loop: reading a long conversation takes tens of milliseconds, and other streams should not wait.
        prompt = await asyncio.to_thread(checkpoint.read, request)
        answer = Answer(checkpoint.tokenizer.backend_tokenizer, checkpoint.stop_tokens)
        first = None
        with checkpoint.submit(prompt, request, answer.receive):
            while not answer.finished:
                text = await answer.more_text()
                first = first or time.monotonic()
                if text:
                    yield Delta(text, answer.tokens)
        assert first
        reason: Literal["stop", "length"] = "stop" if answer.stopped else "length"
        yield Finished(reason, answer.tokens, len(prompt), first - started, time.monotonic() - first)


class _Checkpoint:
    """Loaded weights, their tokenizer and the thread that generates with them."""

    def __init__(
        self,
        source: str,
        device: torch.device,
        dtype: torch.dtype,
        slots: int,
        context_tokens: int,
        on_change: Callable[[bool], None],
        on_death: Callable[[], None],
    ) -> None:
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
        self._manager: ContinuousBatchingManager | None = None
        self._started = self._closing = False

    def start(self) -> None:
        """Start generating; returns after one token was made. Raises ModelUnusable."""
        self._started = False
        self._manager = self.model.init_continuous_batching(
            generation_config=_sampling_defaults(self.stop_tokens), continuous_batching_config=self._batching()
        )
        self._outputs = self._manager.output_router = _Outputs(self._manager)
        _GreedyAtZero.install(self._manager)
        self._manager.start()
        threading.Thread(target=self._watch, args=(self._manager, self._outputs), daemon=True).start()
        self._self_test(self._manager)
        self._started = True

    def _batching(self) -> ContinuousBatchingConfig:
        return ContinuousBatchingConfig(
            page_size=PAGE_TOKENS,
            # Fixed, because the default takes most of the device, which other workers may share.
            num_blocks=math.ceil(max(self.context_tokens, self._slots * SLOT_TOKENS) / PAGE_TOKENS),
            max_batch_tokens=max(STEP_TOKENS, self._slots),
            max_requests_per_batch=self._slots,
            per_request_processors=True,
            # Overlapped batches may look up the cache of a request that was cancelled meanwhile, which ends the loop.
            use_async_batching=False,
            # Would fetch compiled kernels from the hub.
            auto_switch_to_flash=False,
        )

    def _self_test(self, manager: ContinuousBatchingManager) -> None:
        made: queue.SimpleQueue[Made] = queue.SimpleQueue()
        # Sampled, because drawing refuses the not-a-numbers of a broken model, which the greedy choice would pass.
        hello = TextRequest("self-test", (ChatTurn("user", "Hello"),), 1, temperature=1.0, top_p=1.0, model="qwen_base")
        try:
            with self.submit(self.read(hello), hello, made.put):
                if failure := made.get(timeout=SELF_TEST_SECONDS).failure:
                    raise EngineFailed(failure)
        except (EngineFailed, queue.Empty) as error:
            cause = manager.background_thread_status.fatal_error or error
            raise ModelUnusable(f"{self.source}: cannot generate: {first_line(cause)}") from cause

    def _watch(self, manager: ContinuousBatchingManager, outputs: "_Outputs") -> None:
        """Runs beside the generation thread, to outlive it."""
        thread = manager._generation_thread
        assert thread
        thread.join()
        outputs.hang_up()
        if self._started and not self._closing:
            log.critical("generation stopped; starting it again", extra={"error_id": outputs.error_id})
            self._on_change(False)
            _free_cache(manager)
            self._start_again()

    def _start_again(self) -> None:
        try:
            self.start()
            self._on_change(True)
        except Exception:
            log.critical("generation cannot be started again", exc_info=True)
            self._on_death()

    def close(self) -> None:
        self._closing = True
        if self._manager:
            self._manager.stop(block=True, hard_stop=True)

    def read(self, request: TextRequest) -> list[int]:
        """The tokens of the prompt. Raises InputTooLong and InvalidRequest."""
        messages = [(turn.role, turn.content) for turn in request.messages]
        read = self._prompts.plain if request.model == "qwen_base" else self._prompts.chat
        return read(messages, request.max_tokens)

    def count(self, model: ModelName, texts: Sequence[str]) -> TokenCount:
        """How many tokens the contents of messages have."""
        added = self._prompts.added_to_a_line if model == "qwen_base" else self._prompts.added_by_template
        return TokenCount("chat", self._prompts.lengths(texts), self.context_tokens, added)

    @contextmanager
    def submit(self, prompt: list[int], request: TextRequest, receive: Callable[[Made], None]) -> Iterator[None]:
        """Put a request into the batch; leaving the block before its end takes it out. Raises EngineFailed."""
        manager, outputs = self._manager, self._outputs
        assert manager
        key = f"{request.request_id}#{next(self._keys)}"
        outputs.receivers[key] = receive
        try:
            accepted = manager.add_request(
                prompt,
                request_id=key,
                max_new_tokens=request.max_tokens,
                streaming=True,
                eos_token_id=sorted(self.stop_tokens),
                temperature=0.0 if request.top_p == 0 else float(request.temperature),
                top_p=float(request.top_p),
            )
            if accepted is None:
                raise EngineFailed(outputs.failure)
            yield
        finally:
            if outputs.receivers.pop(key, None):
                manager.cancel_request(key)


class _Outputs(OutputRouter):  # type: ignore[misc]
    """Hands progress to the caller that waits for it.

    Takes the place of the library's router, which would keep the output of cancelled requests for ever.
    """

    def __init__(self, manager: ContinuousBatchingManager) -> None:
        super().__init__()
        self.receivers: dict[str, Callable[[Made], None]] = {}
        self.error_id = secrets.token_hex(6)
        self.failure = f"the chat model failed; the server's log has it under error id {self.error_id}"
        self._manager = manager

    def deliver(self, output: GenerationOutput) -> None:
        finished, failed = output.is_finished(), output.status == RequestStatus.FAILED
        receive = (self.receivers.pop if finished else self.receivers.get)(output.request_id, None)
        if receive:
            receive(Made(output.generated_tokens, finished, self.failure if failed else ""))
        elif not finished:
            # A cancellation that arrives together with its request is dropped by the loop: say it again.
            self._manager.cancel_request(output.request_id)

    def deliver_batch(self, outputs: list[GenerationOutput]) -> None:
        for output in outputs:
            self.deliver(output)

    def hang_up(self) -> None:
        """Tell all callers that still wait that nothing more will come."""
        while self.receivers:
            self.receivers.popitem()[1](Made((), finished=True, failure=self.failure))


class _GreedyAtZero(ContinuousBatchingTemperatureLogitsWarper):  # type: ignore[misc]
    """Temperature per request, where 0 leaves only the likeliest token.

    The library chooses between sampling and greedy for the whole batch, and would divide by a temperature of 0.
    """

    @classmethod
    def install(cls, manager: ContinuousBatchingManager) -> None:
        """Put it in the place of the library's own."""
        processors = manager.logit_processor.logits_processor
        for index, found in enumerate(processors):
            if isinstance(found, ContinuousBatchingTemperatureLogitsWarper):
                processors[index] = cls(TemperatureLogitsWarper(found.temperature))

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        temperatures = tensor_arg[: scores.size(0)].view(torch.float32).unsqueeze(-1)
        likeliest = scores.argmax(dim=-1, keepdim=True)
        alone = torch.full_like(scores, -math.inf).scatter(-1, likeliest, 0.0)
        return torch.where(temperatures < COLDEST, alone, scores / temperatures.clamp(min=COLDEST))


def _free_cache(manager: ContinuousBatchingManager) -> None:
    """Let go of a dead manager's cache, because there may be no room for a second one."""
    cause = manager.background_thread_status.fatal_error
    if cause:
        cause.with_traceback(None)  # its frames hold the cache too
    manager.stop(block=False)


def _sampling_defaults(stop_tokens: frozenset[int]) -> GenerationConfig:
    # The numbers only make the processors exist: every request brings its own. Nothing else of the checkpoint's
    # generation config applies, such as a repetition penalty: a worker executes what the request says.
    stop = sorted(stop_tokens) or None
    return GenerationConfig(do_sample=True, temperature=0.7, top_p=0.9, top_k=0, eos_token_id=stop)


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
