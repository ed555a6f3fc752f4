"""The small Wan's encoder is a linear map exactly, and its decoder begins in the right colours."""

import numpy as np
import pytest
import torch

from atelier.small_models import wan_trained
from training.clip_patches import WIDTH, ClipPatches, features, fitted
from training.wan_encoder import begin, make, patches_of

RNG = np.random.default_rng(0)


def moving(frames: int, height: int, width: int) -> np.ndarray:
    """[frames, height, width, 3] from -1 to 1: large areas and small ones that move."""
    picture = (
        sum(
            np.kron(RNG.uniform(-1, 1, (-(-height // size), -(-width // size), 3)), np.ones((size, size, 1)))[
                :height, :width
            ]
            for size in (32, 16, 8, 4, 2)
        )
        / 4
    )
    return np.stack([np.roll(picture, 2 * frame, 1) * (1 - 0.01 * frame) for frame in range(frames)])


def means(video: np.ndarray) -> np.ndarray:
    frames, height, width, _ = video.shape
    return video.reshape(frames, height // 4, 4, width // 4, 4, 3).mean((2, 4))


@pytest.fixture(scope="module")
def patches() -> ClipPatches:
    a, b, c, d = (frame[None] for frame in means(moving(4, 512, 512)))
    return fitted(np.stack([features(a, b), features(c, d)], -2).reshape(-1, 2, WIDTH))


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 32, 32), (5, 32, 48), (13, 64, 32)])
def test_the_encoder_is_the_linear_map(patches: ClipPatches, frames: int, height: int, width: int) -> None:
    vae = wan_trained.vae()
    make(vae, patches)
    video = moving(frames, height, width)
    with torch.no_grad():
        found = vae.encode(torch.from_numpy(video).float().permute(3, 0, 1, 2)[None]).latent_dist
    wanted = patches.latents(means(video))
    assert found.mean[0].shape == wanted.shape
    assert np.abs(found.mean[0].numpy() - wanted).max() < 1e-3
    assert found.std.max() < 0.01


def test_the_map_can_be_read_from_the_encoder(patches: ClipPatches) -> None:
    vae = wan_trained.vae()
    make(vae, patches)
    found = patches_of(vae)
    assert np.allclose(found.early, patches.early, atol=1e-4)
    assert np.allclose(found.late, patches.late, atol=1e-4)
    assert np.allclose(found.offset, patches.offset, atol=1e-6)


def test_the_decoder_begins_in_the_mean_colour(patches: ClipPatches) -> None:
    torch.manual_seed(0)
    vae = wan_trained.vae()
    make(vae, patches)
    begin(vae, patches)
    colour = torch.tensor([0.6, -0.4, 0.1])
    video = colour.view(1, 3, 1, 1, 1).expand(1, 3, 5, 64, 64)
    with torch.no_grad():
        drawn = vae.decode(vae.encode(video).latent_dist.mean).sample
    assert drawn.shape == video.shape
    assert (drawn[0, :, :, 16:-16, 16:-16].mean((1, 2, 3)) - colour).abs().max() < 0.1
