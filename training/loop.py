"""The training loop: steps of one task for some time, with checkpoints and grids along the way."""

import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from atelier.small_models import weights
from training import checkpoints
from training.averages import Averages
from training.muon import Muon, is_hidden_matrix
from training.progress import Shown
from training.task import Batch, Device, Task, trainable

SECONDS_BETWEEN_CHECKPOINTS: Final[float] = 180.0
SECONDS_BETWEEN_GRIDS: Final[float] = 900.0
WARMUP_STEPS: Final[int] = 200
STEADY_STEPS: Final[int] = 2000
MAX_GRADIENT: Final[float] = 1.0
MUON_RATE: Final[float] = 2.5  # times the task's learning rate, which is AdamW's


class _Steps(Dataset[Batch]):
    """Step number -> batch, for torch's DataLoader to call in its processes."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getitem__(self, step: int) -> Batch:
        return self._task.draw(step)


def _unchanged(batch: Batch) -> Batch:
    """In place of torch's own, which would make tensors of arrays."""
    return batch


class Stop:
    """Set by SIGTERM and SIGINT: the loop then saves and returns at its next step."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def _pace(step: int) -> float:
    """The learning rate's factor: up, then steady, then down with the step's inverse square root."""
    return min(1.0, (step + 1) / WARMUP_STEPS, math.sqrt(STEADY_STEPS / (step + 1)))


def _optimizers(parameters: Mapping[str, nn.Parameter], rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for everything else."""
    hidden = {name for name, parameter in parameters.items() if is_hidden_matrix(name, parameter)}
    rest = [parameter for name, parameter in parameters.items() if name not in hidden]
    return [
        Muon([parameters[name] for name in parameters if name in hidden], MUON_RATE * rate),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.01),
    ]


class Training:
    """One task with its optimiser and averages, brought to where its checkpoint left it."""

    def __init__(self, task: Task, folder: Path, device: Device) -> None:
        self._task, self._device = task, device
        self._file = folder / f"{task.name}.pt"
        self._grid_file = folder / f"{task.name}.png"
        for module in task.modules().values():
            module.to(device.torch)
        self._parameters = trainable(task.modules())
        self._optimizers = _optimizers(self._parameters, task.learning_rate)
        self._averages = Averages(self._parameters)
        self.step = self.samples = 0
        self.seconds = 0.0
        self._load()
        if device.compiled:
            for module in task.modules().values():
                module.compile()

    def run(self, seconds: float, stop: Stop, max_samples: int | None = None) -> None:
        """Train for `seconds` or `max_samples`, or until stopped; saves at the end."""
        started = saved = drawn = time.monotonic()
        before = self.seconds
        enough = float("inf") if max_samples is None else self.samples + max_samples
        with Shown(self._task.name, seconds) as shown:
            for batch in self._batches():
                loss = self._step(batch)
                shown.step(self.step, self._task.samples(batch), loss)
                now = time.monotonic()
                self.seconds = before + now - started
                ended = stop.asked or now - started > seconds or self.samples >= enough
                if ended or now - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    self.save()
                    saved = now
                if now - drawn > SECONDS_BETWEEN_GRIDS:
                    self.draw_grid()
                    drawn = now
                if ended:
                    return

    def save(self) -> None:
        """Write the checkpoint."""
        modules = {name: module.state_dict() for name, module in self._task.modules().items()}
        progress = {"step": self.step, "samples": self.samples, "seconds": self.seconds}
        checkpoints.save(
            self._file,
            {
                **progress,
                "modules": modules,
                "averages": self._averages.values,
                "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            },
        )
        checkpoints.note(self._file, progress)

    def draw_grid(self) -> None:
        """Write the task's picture of what it can do."""
        modules = self._task.modules().values()
        for module in modules:
            module.eval()
        with self._averages.in_place(), torch.no_grad():
            checkpoints.save_picture(self._grid_file, self._task.grid())
        for module in modules:
            module.train()

    def _batches(self) -> DataLoader[Batch]:
        return DataLoader(
            _Steps(self._task),
            batch_size=None,
            sampler=range(self.step, 2**40),
            collate_fn=_unchanged,
            num_workers=self._device.drawing_processes,
            prefetch_factor=4 if self._device.drawing_processes else None,
        )

    def _step(self, batch: Batch) -> float:
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * _pace(self.step)
        loss = self._task.loss(batch, self.step)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), MAX_GRADIENT)
        for optimizer in self._optimizers:
            optimizer.step()
        self.step += 1
        self.samples += self._task.samples(batch)
        self._averages.update(self.step)
        return float(loss.detach())

    def _load(self) -> None:
        state: dict[str, Any] | None = checkpoints.load(self._file, self._device.torch)
        if state is None:
            self._start_from_shipped()
            return
        for name, module in self._task.modules().items():
            module.load_state_dict(state["modules"][name])
        self._averages.load(state["averages"])
        for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.step, self.samples, self.seconds = state["step"], state["samples"], state["seconds"]

    def _start_from_shipped(self) -> None:
        """Without a checkpoint, go on from the weights in the package, where there are some that fit."""
        family = self._task.name.split("-")[0]
        shipped, _ = weights.read(family)
        for name, module in self._task.modules().items():
            if name in shipped and name != "vae":  # a VAE's task was given one that is loaded already
                module.load_state_dict(shipped[name])
        self._averages.load({name: p.detach() for name, p in self._parameters.items()})
