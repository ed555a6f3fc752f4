"""A StableDiffusionXLPipeline of the real classes with small widths, about 8 million weights in all."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from atelier.small_models import clip_vocabulary

MODEL_NAME = "atelier-small-sdxl"
TEXT_WIDTHS = (48, 80)  # unequal, as in SDXL: it is by their widths that a single file's text encoders are told apart
POOLED_WIDTH = 64
SIZE_EMBEDDING_WIDTH = 32
GROUPS = 8


def make(folder: Path) -> None:
    """Write the whole pipeline into `folder` as safetensors."""
    clip_vocabulary.write_tokenizers(folder)
    torch.manual_seed(0)
    pipeline = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config(TEXT_WIDTHS[0], "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(TEXT_WIDTHS[1], "gelu")),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder / "tokenizer_2"),
        unet=_unet(),
        scheduler=_scheduler(),
        add_watermarker=False,
    )
    initialise(pipeline)
    pipeline.save_pretrained(folder, safe_serialization=True)
    _name(folder / "model_index.json")


@torch.no_grad()
def initialise(pipeline: StableDiffusionXLPipeline) -> None:
    """The one place where the weights come from.

    Here: random ones, with the three output layers scaled so that noise is predicted at about the strength it has,
    pictures use the whole range of brightness, and latents of pictures are as strong as noise. Call with a seeded
    generator for the same weights every time.
    """
    latents = torch.randn(1, 4, 32, 32)
    text = torch.randn(1, clip_vocabulary.MAX_TOKENS, sum(TEXT_WIDTHS))
    added = {"text_embeds": torch.randn(1, POOLED_WIDTH), "time_ids": torch.tensor([[256.0, 256, 0, 0, 256, 256]])}
    noise = pipeline.unet(latents, 500, encoder_hidden_states=text, added_cond_kwargs=added).sample
    pipeline.unet.conv_out.weight.div_(noise.std())
    pixels = pipeline.vae.decode(latents).sample
    pipeline.vae.decoder.conv_out.weight.div_(2 * pixels.std())
    of_picture = pipeline.vae.encode(pixels / (2 * pixels.std())).latent_dist.mean
    pipeline.vae.quant_conv.weight.div_(of_picture.std() * pipeline.vae.config.scaling_factor)


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=128,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 48, 128),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(1, 1, 2),  # numbers of heads, in spite of the name
        cross_attention_dim=sum(TEXT_WIDTHS),
        addition_embed_type="text_time",
        addition_time_embed_dim=SIZE_EMBEDDING_WIDTH,
        projection_class_embeddings_input_dim=6 * SIZE_EMBEDDING_WIDTH + POOLED_WIDTH,
        use_linear_projection=True,
        norm_num_groups=GROUPS,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 32, 32),
        layers_per_block=1,
        norm_num_groups=GROUPS,
        sample_size=1024,
        scaling_factor=0.13025,
        force_upcast=False,
    )


def _text_config(width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=clip_vocabulary.SIZE,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=POOLED_WIDTH,
        num_hidden_layers=6,
        num_attention_heads=2,
        max_position_embeddings=clip_vocabulary.MAX_TOKENS,
        hidden_act=activation,
        bos_token_id=clip_vocabulary.SIZE - 2,
        eos_token_id=clip_vocabulary.SIZE - 1,
    )


def _scheduler() -> EulerDiscreteScheduler:
    """SDXL's own noise schedule."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
    )


def _name(index: Path) -> None:
    """Keep the model's name in its own files, so that it is reported wherever the folder is copied to."""
    settings = json.loads(index.read_text())
    index.write_text(json.dumps(settings | {"_name_or_path": MODEL_NAME}, indent=2) + "\n")
