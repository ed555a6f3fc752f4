"""The small SDXL's VAE: an encoder that is a linear map exactly, and a decoder whose norms do nothing."""

import numpy as np
import pytest
import torch

from atelier.small_models import sdxl_trained
from training.patches import CELL, CELLS, COLOURS, Patches, by_patch, fitted, means
from training.plain_decoder import PlainDecoder
from training.sdxl_encoder import make, patches_of

RNG = np.random.default_rng(0)
SIZES = ((32, 32), (64, 96), (256, 160), (512, 512))


@pytest.fixture(scope="module")
def patches() -> Patches:
    return fitted(by_patch(blocks(1024, 1024)))


def blocks(height: int, width: int) -> np.ndarray:
    """A picture with large areas and small details."""
    picture = np.zeros((height, width, 3))
    for size in (32, 16, 8, 4, 2, 1):
        shape = (-(-height // size), -(-width // size), 3)
        picture += np.kron(RNG.uniform(0, size, shape), np.ones((size, size, 1)))[:height, :width]
    return np.asarray(picture * 255 / picture.max(), np.uint8)


def pixels(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_encoder_is_the_linear_map(patches: Patches, height: int, width: int) -> None:
    vae = sdxl_trained.vae()
    make(vae, patches)
    picture = blocks(height, width)
    with torch.no_grad():
        found = vae.encode(pixels(picture)).latent_dist
    assert np.abs(found.mean[0].numpy() - patches.latents(means(picture))).max() < 1e-3
    assert found.std.max() < 0.01


def test_the_map_can_be_read_from_the_encoder(patches: Patches) -> None:
    vae = sdxl_trained.vae()
    make(vae, patches)
    found = patches_of(vae)
    assert np.allclose(found.matrix, patches.matrix, atol=1e-6)
    assert np.allclose(found.offset, patches.offset, atol=1e-6)


def test_a_quarter_of_the_size_has_the_same_latents(patches: Patches) -> None:
    small = blocks(64, 64)
    large = np.kron(small, np.ones((CELL, CELL, 1), np.uint8))
    assert np.allclose(patches.latents(means(large)), patches.latents(small), atol=1e-5)


def test_latents_are_as_strong_as_noise_and_colours_survive(patches: Patches) -> None:
    picture = blocks(1024, 1024)
    latents = patches.latents(picture)
    assert 0.2 < latents.std() < 1.5
    matrix, offset = patches.colours()
    colours = (matrix @ latents.reshape(len(latents), -1)).T + offset
    wanted = picture.reshape(128, CELLS, 128, CELLS, 3).mean((1, 3)).reshape(-1, 3) / 127.5 - 1
    assert np.allclose(colours, wanted, atol=1e-5)


def test_a_flat_picture_comes_back_as_it_was(patches: Patches) -> None:
    flat = np.full((16, 24, 3), (200, 30, 90), np.uint8)
    assert np.abs(patches.cells(patches.latents(flat)).astype(int) - flat).max() <= 1


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (4, 7), (8, 8)])
def test_the_vae_decodes_as_the_plain_decoder_does(patches: Patches, rows: int, columns: int) -> None:
    torch.manual_seed(0)
    plain, vae = PlainDecoder(patches), sdxl_trained.vae()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        plain.into(vae)
        latents = torch.randn(1, sdxl_trained.LATENT_CHANNELS, rows, columns)
        assert torch.allclose(vae.decode(latents).sample, plain(latents), atol=2e-3)


def test_a_shipped_decoder_can_learn_on(patches: Patches) -> None:
    torch.manual_seed(0)
    shipped, vae, again = PlainDecoder(patches), sdxl_trained.vae(), PlainDecoder(patches)
    untouched = again.conv_in.weight.clone()
    again.take(vae)
    assert torch.equal(again.conv_in.weight, untouched)
    shipped.into(vae)
    again.take(vae)
    assert all(
        torch.allclose(mine, theirs) for mine, theirs in zip(again.parameters(), shipped.parameters(), strict=True)
    )


def test_before_it_learns_the_decoder_draws_the_right_colours(patches: Patches) -> None:
    flat = np.full((64, 64, 3), (30, 180, 90), np.uint8)
    latents = torch.from_numpy(patches.latents(flat))[None]
    with torch.no_grad():
        inner = PlainDecoder(patches)(latents)[0, :, 64:-64, 64:-64]
    assert torch.allclose(inner.mean((1, 2)), torch.tensor([30, 180, 90]) / 127.5 - 1, atol=0.05)
    assert len(inner) == COLOURS
