"""The networks that are trained fit into what may be shipped, and into the real pipelines."""

from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from atelier.small_models import sdxl_trained, wan_trained
from training import words
from training.export import MAX_BYTES, write
from training.latent_pool import LatentPool
from training.muon import orthogonal
from training.wan_conditions import MODES, control, latent_frames, masks, mode_of
from training.wan_decoder import decode_unclamped
from training.wan_words import WanWords

SDXL_WORDS = 300


def test_exported_weights_are_float16_and_small_enough(tmp_path: Path) -> None:
    first, second = sdxl_trained.text_encoders(SDXL_WORDS)
    families: dict[str, dict[str, nn.Module]] = {
        "sdxl": {
            "vae": sdxl_trained.vae(),
            "unet": sdxl_trained.unet(),
            "text_encoder": first,
            "text_encoder_2": second,
        },
        "wan": {
            "vae": wan_trained.vae(),
            "transformer": wan_trained.transformer(),
            "text_encoder": wan_trained.text_encoder(300),
        },
    }
    for family, modules in families.items():
        file = tmp_path / f"{family}.safetensors"
        assert write(file, modules, {"samples": 1}) <= MAX_BYTES[family]
        with safe_open(file, framework="pt") as shipped:
            assert shipped.get_tensor(shipped.keys()[0]).dtype == torch.float16


def test_an_sdxl_latent_is_one_position_for_32_pixels() -> None:
    latents = sdxl_trained.vae().encode(torch.zeros(1, 3, 64, 96)).latent_dist.mean
    assert latents.shape == (1, 16, 2, 3)


def test_noise_ends_far_above_the_picture_and_no_step_divides_by_zero() -> None:
    signal = sdxl_trained.scheduler().alphas_cumprod
    assert 100 < float(((1 - signal[-1]) / signal[-1]).sqrt()) < 300


def test_decoding_for_training_is_decoding() -> None:
    torch.manual_seed(0)
    vae = wan_trained.vae()
    latents = torch.randn(2, 16, 2, 2, 2)
    with torch.no_grad():
        assert torch.equal(decode_unclamped(vae, latents).clamp(-1, 1), vae.decode(latents).sample)


def test_the_conditions_have_the_channels_that_vace_expects() -> None:
    transformer = wan_trained.transformer()
    kept = torch.zeros(1, 16, latent_frames(5), 4, 2)
    mask = masks("start", 5, 64, 32)[None]
    for reference, frames in ((None, 2), (torch.zeros(1, 16, 1, 4, 2), 3)):
        given = control(kept, kept, mask, reference)
        assert given.shape == (1, transformer.config.vace_in_channels, frames, 4, 2)


def test_every_reference_mode_comes_up_and_stills_have_none() -> None:
    assert {mode_of(seed, 9) for seed in range(200)} == set(MODES)
    assert {mode_of(seed, 1) for seed in range(50)} == {"none"}


def test_every_word_of_the_captions_is_a_token() -> None:
    vocabulary = WanWords()
    ids, _ = vocabulary.numbers([text for text in words.every_text() if text])
    assert not (ids == vocabulary.tokenizer.unk_token_id).any()
    assert (vocabulary.numbers(["A FOX"])[0] == vocabulary.numbers(["a fox"])[0]).all()
    assert vocabulary.tokenizer.unk_token_id in vocabulary.numbers(["a wombat"])[0]


def test_a_pool_keeps_its_newest_latents_through_a_restart(tmp_path: Path) -> None:
    pool = LatentPool(tmp_path, "p", (2,), 4)
    pool.add(np.arange(6), np.arange(12).reshape(6, 2))
    again = LatentPool(tmp_path, "p", (2,), 4)
    seeds, latents = again.sample(np.random.default_rng(0), 64)
    assert len(again) == 4
    assert set(seeds.tolist()) == {2, 3, 4, 5}
    assert (latents[:, 0] == 2 * seeds).all()


def test_orthogonal_updates_have_even_singular_values() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(2, 24, 8)))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.5
