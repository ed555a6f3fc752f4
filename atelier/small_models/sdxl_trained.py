"""The trained small SDXL: the networks' shapes, which training shares, and the pipeline made of shipped weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from atelier.small_models import clip_vocabulary, weights

LATENT_CHANNELS: Final[int] = 16
# Two groups: as many groups as channels would be instance norm, which forgets what colour a picture has.
VAE_GROUPS: Final[int] = 1
VAE_CHANNELS: Final[tuple[int, ...]] = (8, 8, 24, 48, 64, 96)
TEXT_WIDTHS: Final[tuple[int, int]] = (
    48,
    80,
)  # unequal, as in SDXL: that is how a single file's encoders are told apart
TEXT_LAYERS: Final[int] = 6  # a request may skip four of them
POOLED_WIDTH: Final[int] = 96
SIZE_EMBEDDING_WIDTH: Final[int] = 32


def make(folder: Path) -> None:
    """Write the whole pipeline of the shipped weights into `folder` as safetensors."""
    clip_vocabulary.write_tokenizers(folder)
    shipped, notes = weights.read("sdxl")
    first, second = text_encoders(clip_vocabulary.SIZE)
    parts = {"vae": vae(), "unet": unet(), "text_encoder": first, "text_encoder_2": second}
    for name, module in parts.items():
        state = shipped[name]
        if (key := next((key for key in state if key.endswith("token_embedding.weight")), None)) is not None:
            state[key] = every_token(state[key], notes["tokens"])
        module.load_state_dict(state)
    pipeline = StableDiffusionXLPipeline(
        **parts,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder / "tokenizer_2"),
        scheduler=scheduler(),
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def every_token(trained: Tensor, tokens: Sequence[int]) -> Tensor:
    """Returns embeddings of CLIP's whole vocabulary: `trained` has the unknown word's first and then those of `tokens`,
    the only ones that captions have; all others are the unknown word."""
    every = trained[:1].repeat(clip_vocabulary.SIZE, 1)
    every[torch.tensor(tokens)] = trained[1:]
    return every


def vae() -> AutoencoderKL:
    """32x compression, so that 1024x1024 is 32x32 positions. Few channels at full size, where time goes."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(VAE_CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(VAE_CHANNELS),
        block_out_channels=VAE_CHANNELS,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=VAE_GROUPS,
        mid_block_add_attention=False,
        sample_size=1024,
        scaling_factor=1.0,
        force_upcast=False,
    )


def unet() -> UNet2DConditionModel:
    """SDXL's class with cross attention where there are 16x16 positions and fewer, 7 million weights."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(48, 96, 160),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 1),
        attention_head_dim=(1, 2, 4),  # numbers of heads, in spite of the name
        cross_attention_dim=sum(TEXT_WIDTHS),
        addition_embed_type="text_time",
        addition_time_embed_dim=SIZE_EMBEDDING_WIDTH,
        projection_class_embeddings_input_dim=6 * SIZE_EMBEDDING_WIDTH + POOLED_WIDTH,
        use_linear_projection=True,
        norm_num_groups=8,
    )


def text_encoders(vocabulary: int) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """SDXL's two; the last two numbers of the vocabulary are the first and the end token, as in CLIP."""
    first, second = TEXT_WIDTHS
    return (
        CLIPTextModel(_text_config(first, "quick_gelu", vocabulary)),
        CLIPTextModelWithProjection(_text_config(second, "gelu", vocabulary)),
    )


def _text_config(width: int, activation: str, vocabulary: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=POOLED_WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=2,
        max_position_embeddings=clip_vocabulary.MAX_TOKENS,
        hidden_act=activation,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
    )


def scheduler() -> EulerDiscreteScheduler:
    """Noise up to 140 times as strong as the picture, said in the betas alone.

    SDXL's own ends at 15, where the mean of 1024 positions still shows: a model trained there takes the brightness of
    its picture from the noise, and no night is dark. Zero terminal SNR would do, but Karras' steps waste most of a
    short run on noise beyond 100, and not every sampler of diffusers has it; all of them have betas and v prediction.
    """
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.024,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )
