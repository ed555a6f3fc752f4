"""A training that is stopped, however, goes on as if it had not been."""

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from training import checkpoints
from training.loop import Stop, Training
from training.task import Device, generator

CPU = Device(torch.device("cpu"), 1, 0)


class Line:
    """Learns y = 3x with a small network; its batch is a function of the step, as a task's must be."""

    name = "sdxl-line"
    learning_rate = 1e-2

    def __init__(self) -> None:
        torch.manual_seed(0)
        self._network = nn.Sequential(nn.Linear(1, 16), nn.Linear(16, 16), nn.Linear(16, 1))

    def modules(self) -> Mapping[str, nn.Module]:
        return {"line": self._network}

    def draw(self, step: int) -> Tensor:
        return torch.rand(8, 1, generator=generator(step))

    def samples(self, batch: Tensor) -> int:
        return len(batch)

    def loss(self, batch: Tensor, step: int) -> Tensor:
        error: Tensor = self._network(batch) - 3 * batch
        return error.square().mean()

    def grid(self) -> Image.Image:
        return Image.new("RGB", (2, 2))


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Stop:
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    return Stop()


def weights(folder: Path) -> dict[str, Tensor]:
    state = checkpoints.load(folder / "sdxl-line.pt")
    assert state is not None
    return {**state["modules"]["line"], **{f"average {name}": value for name, value in state["averages"].items()}}


def test_a_resumed_run_ends_with_the_weights_of_one_that_was_never_stopped(tmp_path: Path, stop: Stop) -> None:
    Training(Line(), tmp_path / "whole", CPU).run(60, stop, max_samples=40 * 8)
    for samples in (13 * 8, 27 * 8):
        Training(Line(), tmp_path / "parts", CPU).run(60, stop, max_samples=samples)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert checkpoints.progress(tmp_path / "parts" / "sdxl-line.pt")["step"] == 40


def test_a_signal_saves_at_the_next_step(tmp_path: Path, stop: Stop) -> None:
    stop.asked = True
    Training(Line(), tmp_path, CPU).run(60, stop)
    assert checkpoints.progress(tmp_path / "sdxl-line.pt")["step"] == 1


def test_it_learns(tmp_path: Path, stop: Stop) -> None:
    task = Line()
    before = task.loss(task.draw(0), 0).detach()
    Training(task, tmp_path, CPU).run(60, stop, max_samples=300 * 8)
    assert task.loss(task.draw(0), 0).detach() < 0.01 * before


def test_a_checkpoint_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kept.pt"
    checkpoints.save(file, {"step": 1})

    def killed(state: object, out: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(file, {"step": 2})
    assert checkpoints.load(file) == {"step": 1}


def test_the_grid_shows_the_averages_and_leaves_the_weights_alone(tmp_path: Path, stop: Stop) -> None:
    task = Line()
    training = Training(task, tmp_path, CPU)
    training.run(60, stop, max_samples=8 * 8)
    before = {name: value.clone() for name, value in task.modules()["line"].state_dict().items()}
    training.draw_grid()
    assert all(torch.equal(before[name], value) for name, value in task.modules()["line"].state_dict().items())
    assert (tmp_path / "sdxl-line.png").exists()
