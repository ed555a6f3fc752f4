"""The Engine of every service whose models denoise: a step loop, and the checkpoints that it runs."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import ClassVar, Generic, Protocol, TypeVar

import diffusers
import torch
import transformers

from atelier.contracts.errors import ModelUnusable
from shared.config import ModelConfig
from shared.torch import runtime
from shared.torch.checkpoints import first_line
from shared.worker.engine import Memory, Model, Step
from shared.worker.step_loop import RowT, StepLoop, Stepper
from shared.worker.tokens import TokenCount


class Request(Protocol):
    """What is common to all requests: the logical name of the model that runs it."""

    @property
    def model(self) -> str: ...


class Checkpoint(Protocol):
    """One loaded model. `offloaded`: only the part that works lies on the device, the others in main memory."""

    @property
    def model(self) -> Model: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def offloaded(self) -> bool: ...
    def count_tokens(self, texts: Sequence[str]) -> Sequence[TokenCount]: ...
    def free_device(self) -> None:
        """Moves what is offloaded off the device, also what a job that failed or left has moved there."""


RequestT = TypeVar("RequestT", bound=Request)
MediaT = TypeVar("MediaT")
ResultT = TypeVar("ResultT")
CheckpointT = TypeVar("CheckpointT", bound=Checkpoint)


class DiffusionEngine(ABC, Generic[RequestT, RowT, MediaT, ResultT, CheckpointT]):
    """See Engine. A service says how to open a checkpoint, how to step it, and what a job's media are together."""

    SELF_TEST_FAILS: ClassVar[str]
    """What a model does that fails its self-test, for the operator: "draws nothing"."""

    def __init__(self, stepper: Stepper[RequestT, RowT, MediaT], checkpoints: dict[str, CheckpointT]) -> None:
        """`checkpoints` by logical name: filled and emptied here, read by the stepper."""
        runtime.quieten(diffusers, transformers)
        self._checkpoints = checkpoints
        self._loop: StepLoop[RequestT, RowT, MediaT] = StepLoop(stepper)
        self._ready: list[str] = []

    @abstractmethod
    def _open(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> CheckpointT:
        """Reads a model and puts it where it runs. Blocks. Raises ModelUnusable."""

    @abstractmethod
    def _self_tests(self, name: str) -> Sequence[RequestT]:
        """Short jobs that together use every part of a model."""

    @abstractmethod
    def _result(self, request: RequestT, media: Sequence[MediaT]) -> ResultT:
        """What a job has made: the media of its rows together."""

    @property
    def models(self) -> list[Model]:
        return [self._checkpoints[name].model for name in self._ready]

    @property
    def device(self) -> str:
        return str(self._first.device)

    @property
    def dtype(self) -> str:
        return str(self._first.dtype).removeprefix("torch.")

    @property
    def _first(self) -> CheckpointT:
        return next(iter(self._checkpoints.values()))

    def memory(self) -> Memory:
        return runtime.device_memory(self._first.device) if self._checkpoints else Memory(0, 0)

    def count_tokens(self, name: str, texts: Sequence[str]) -> Sequence[TokenCount]:
        return self._checkpoints[name].count_tokens(texts)

    async def load(self, config: ModelConfig) -> None:
        try:
            self._checkpoints[config.name] = await self._loop.call(partial(self._opened, config))
        except BaseException:
            await self._loop.call(runtime.free_memory)  # of what was read of it
            raise
        if self._checkpoints[config.name].offloaded:
            # Moving one part to the device moves another off it.
            self._loop.use_one_thread()
        try:
            await self._self_test(config.name)
        except Exception as error:
            failure = first_line(error)
        except BaseException:
            await self.unload(config.name)
            raise
        else:
            self._ready.append(config.name)
            return
        # Only out of the block above does the error's traceback let go of the model.
        await self.unload(config.name)
        raise ModelUnusable(f"{config.source}: {self.SELF_TEST_FAILS}: {failure}")

    async def _self_test(self, name: str) -> None:
        for request in self._self_tests(name):
            async with aclosing(self.generate(request)) as events:
                async for _ in events:
                    pass

    def _opened(self, config: ModelConfig) -> CheckpointT:
        device = runtime.choose_device(config.device)
        return self._open(config, device, runtime.choose_dtype(config.dtype, device))

    async def unload(self, name: str) -> None:
        if name in self._ready:
            self._ready.remove(name)
        del self._checkpoints[name]
        await self._loop.call(runtime.free_memory)

    async def generate(self, request: RequestT) -> AsyncGenerator[Step | ResultT, None]:
        checkpoint = self._checkpoints[request.model]
        if self._loop.idle:
            runtime.reset_peak_memory(checkpoint.device)
        media: list[MediaT] = []
        try:
            async with aclosing(self._loop.run(request)) as events:
                async for event in events:
                    if isinstance(event, Step):
                        yield event
                    else:
                        media.append(event)
        finally:
            if checkpoint.offloaded and self._loop.idle and not self._loop.closed:
                await self._loop.call(checkpoint.free_device)
        yield self._result(request, media)

    async def close(self) -> None:
        await self._loop.close()
