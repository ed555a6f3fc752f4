"""A WanPipeline of the real classes with small widths and the compression of Wan 2.2: 16x in space, 4x in time."""

import json
import re
import string
from collections import Counter
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from atelier.small_models.sentences import SENTENCES

MODEL_NAME = "atelier-small-wan"
TEXT_WIDTH = 64
LATENT_CHANNELS = 48
MAX_TOKENS = 512
SPECIAL_TOKENS = ["<pad>", "</s>", "<unk>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def make(folder: Path) -> None:
    """Write the whole pipeline into `folder` as safetensors."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=_text_encoder(len(tokenizer)),
        transformer=_transformer(),
        vae=_vae(),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0, num_train_timesteps=1000
        ),
    )
    initialise(pipeline)
    pipeline.save_pretrained(folder, safe_serialization=True)
    _name(folder / "model_index.json")


@torch.no_grad()
def initialise(pipeline: WanPipeline) -> None:
    """The one place where the weights come from.

    Here: random ones, with the two output layers scaled so that latents keep about the strength they have and
    pictures use the whole range of brightness. Call with a seeded generator for the same weights every time.
    """
    latents = torch.randn(1, LATENT_CHANNELS, 2, 8, 8)
    text = torch.randn(1, MAX_TOKENS, TEXT_WIDTH)
    flow = pipeline.transformer(latents, torch.tensor([500]), text).sample
    pipeline.transformer.proj_out.weight.div_(flow.std())
    pixels = pipeline.vae.decode(latents).sample
    pipeline.vae.decoder.conv_out.weight.div_(2 * pixels.std())


def _transformer() -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_attention_heads=1,  # on a CPU the time grows with the heads, whatever their width
        attention_head_dim=96,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=256,
        num_layers=2,
    )


def _vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=16,  # half as wide is twice as slow: torch then leaves its fast 3D convolutions on a CPU
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_temporal=4,
        scale_factor_spatial=16,
    )


def _text_encoder(vocabulary_size: int) -> UMT5EncoderModel:
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary_size,
            d_model=TEXT_WIDTH,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            is_decoder=False,
        )
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that works as T5's does; what it never learnt is spelt out in bytes, so nothing is unknown to it."""
    tokenizer = Tokenizer(models.Unigram(_vocabulary(), unk_id=2, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    pad_token, eos_token, unk_token = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad_token,
        eos_token=eos_token,
        unk_token=unk_token,
        model_max_length=MAX_TOKENS,
    )


def _vocabulary() -> list[tuple[str, float]]:
    """Special tokens, every byte, then the words of `SENTENCES` and the word parts that return in them.

    All weigh the same, so a text is split into as few tokens as possible. (Learnt weights would differ at every run:
    the trainer of `tokenizers` is not deterministic.)
    """
    words = re.findall(r"\w+|[^\w\s]", SENTENCES + SENTENCES.lower())
    parts = Counter(
        word[i : i + length] for word in words for length in (1, 2, 3, 4) for i in range(len(word) - length + 1)
    )
    pieces = {f"▁{word}" for word in words} | {part for part, count in parts.items() if count >= 4}
    letters = set(string.ascii_letters + string.digits + string.punctuation) | {"▁"}
    return [(token, -10.0) for token in [*SPECIAL_TOKENS, *BYTES, *sorted(pieces | letters)]]


def _name(index: Path) -> None:
    """Keep the model's name in its own files, so that it is reported wherever the folder is copied to."""
    settings = json.loads(index.read_text())
    index.write_text(json.dumps(settings | {"_name_or_path": MODEL_NAME}, indent=2) + "\n")
