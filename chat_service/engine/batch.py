"""The requests of one checkpoint in transformers' continuous batching: one generation thread, shared forward passes.

A request joins and leaves the batch between two tokens, and each has its own temperature and top_p.
"""

import math
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, TemperatureLogitsWarper
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingTemperatureLogitsWarper
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.continuous_batching.requests import GenerationOutput, RequestStatus

from atelier.contracts.errors import EngineFailed
from chat_service.engine.answer import Made
from chat_service.engine.interface import TextRequest

PAGE_TOKENS = 64  # granularity of the key/value cache, and of the prefixes that requests share
STEP_TOKENS = 256  # most tokens of one forward pass: a long prompt is read in pieces, between the tokens of others
SLOT_TOKENS = 1024  # cache room that every slot can count on
# Below this a temperature decides nothing that float32 can tell from greedy, and dividing by it would overflow.
COLDEST = 1e-6


class Batch:
    """A running generation thread. Used up once the thread has ended."""

    def __init__(self, model: Any, stop_tokens: frozenset[int], slots: int, context_tokens: int) -> None:
        self.stop_tokens = stop_tokens
        self.manager: ContinuousBatchingManager = model.init_continuous_batching(
            generation_config=_sampling_defaults(stop_tokens),
            continuous_batching_config=_batching(slots, context_tokens),
        )
        self.outputs = self.manager.output_router = _Outputs(self.manager)
        _GreedyAtZero.install(self.manager)
        self.manager.start()

    @property
    def error_id(self) -> str:
        """Under which the log has what ended the thread."""
        return self.outputs.error_id

    @property
    def fatal_error(self) -> BaseException | None:
        """What ended the thread, if it was an error."""
        error: BaseException | None = self.manager.background_thread_status.fatal_error
        return error

    @contextmanager
    def submit(
        self, key: str, prompt: list[int], request: TextRequest, receive: Callable[[Made], None]
    ) -> Iterator[None]:
        """Puts a request in; leaving the block before its end takes it out. Raises EngineFailed."""
        self.outputs.receivers[key] = receive
        try:
            accepted = self.manager.add_request(
                prompt,
                request_id=key,
                max_new_tokens=request.max_tokens,
                streaming=True,
                eos_token_id=sorted(self.stop_tokens),
                temperature=0.0 if request.top_p == 0 else float(request.temperature),
                top_p=float(request.top_p),
            )
            if accepted is None:
                raise EngineFailed(self.outputs.failure)
            yield
        finally:
            if self.outputs.receivers.pop(key, None):
                self.manager.cancel_request(key)

    def wait(self) -> None:
        """Returns when the thread has ended and all that was running has been told so."""
        thread = self.manager._generation_thread
        assert thread
        thread.join()
        self.outputs.hang_up()

    def stop(self) -> None:
        """Ends the thread; what is running fails."""
        self.manager.stop(block=True, hard_stop=True)

    def free_cache(self) -> None:
        """Lets go of the cache of a thread that has ended, because there may be no room for a second one."""
        if self.fatal_error:
            self.fatal_error.with_traceback(None)  # its frames hold the cache too
        self.manager.stop(block=False)


def _batching(slots: int, context_tokens: int) -> ContinuousBatchingConfig:
    return ContinuousBatchingConfig(
        page_size=PAGE_TOKENS,
        # Fixed, because the default takes most of the device, which other workers may share.
        num_blocks=math.ceil(max(context_tokens, slots * SLOT_TOKENS) / PAGE_TOKENS),
        max_batch_tokens=max(STEP_TOKENS, slots),
        max_requests_per_batch=slots,
        per_request_processors=True,
        # Overlapped batches may look up the cache of a request that was cancelled meanwhile, which ends the loop.
        use_async_batching=False,
        # Would fetch compiled kernels from the hub.
        auto_switch_to_flash=False,
    )


def _sampling_defaults(stop_tokens: frozenset[int]) -> GenerationConfig:
    # The numbers only make the processors exist: every request brings its own. Nothing else of the checkpoint's
    # generation config applies, such as a repetition penalty: a worker executes what the request says.
    stop = sorted(stop_tokens) or None
    return GenerationConfig(do_sample=True, temperature=0.7, top_p=0.9, top_k=0, eos_token_id=stop)


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
        """Tells all callers that still wait that nothing more will come."""
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
