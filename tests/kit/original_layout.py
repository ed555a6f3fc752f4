"""Saves an SDXL pipeline the way checkpoints are shared: one file, with the names of the original implementation."""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

Weights = dict[str, torch.Tensor]
# (name in diffusers, name in the original), applied in order.
Names = list[tuple[str, str]]

RESNET: Names = [
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
]
UNET: Names = [
    (r"^time_embedding\.linear_1", "time_embed.0"),
    (r"^time_embedding\.linear_2", "time_embed.2"),
    (r"^add_embedding\.linear_1", "label_emb.0.0"),
    (r"^add_embedding\.linear_2", "label_emb.0.2"),
    (r"^conv_in", "input_blocks.0.0"),
    (r"^conv_norm_out", "out.0"),
    (r"^conv_out", "out.2"),
    (r"^mid_block\.resnets\.0", "middle_block.0"),
    (r"^mid_block\.attentions\.0", "middle_block.1"),
    (r"^mid_block\.resnets\.1", "middle_block.2"),
]
VAE: Names = [
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
]
OPEN_CLIP: Names = [
    (r"^text_model\.embeddings\.token_embedding\.weight", "token_embedding.weight"),
    (r"^text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^text_model\.final_layer_norm", "ln_final"),
    (r"^text_model\.encoder\.layers", "transformer.resblocks"),
    (r"layer_norm1", "ln_1"),
    (r"layer_norm2", "ln_2"),
    (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"),
    (r"self_attn\.out_proj", "attn.out_proj"),
]


def save_single_file(folder: Path, file: Path) -> None:
    """Write the weights of the pipeline in `folder` into one file."""
    unet = load_file(folder / "unet/diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae/diffusion_pytorch_model.safetensors")
    first = load_file(folder / "text_encoder/model.safetensors")
    second = load_file(folder / "text_encoder_2/model.safetensors")
    weights = {
        **_prefixed("model.diffusion_model.", _unet(unet)),
        **_prefixed("first_stage_model.", _vae(vae)),
        **_prefixed("conditioner.embedders.0.transformer.text_model.", first),
        **_prefixed("conditioner.embedders.1.model.", _open_clip(second)),
    }
    save_file({name: weight.contiguous() for name, weight in weights.items()}, file)


def _prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: weight for name, weight in weights.items()}


def _renamed(name: str, names: Names) -> str:
    for old, new in names:
        name = re.sub(old, new, name)
    return name


def _unet(weights: Weights) -> Weights:
    """Blocks are numbered through in the original: here each has one layer on the way down and two on the way up."""
    attends = {match[1] for name in weights if (match := re.match(r"up_blocks\.(\d)\.attentions", name))}

    def numbered(name: str) -> str:
        name = re.sub(r"^down_blocks\.(\d)\.resnets\.0", lambda m: f"input_blocks.{2 * int(m[1]) + 1}.0", name)
        name = re.sub(r"^down_blocks\.(\d)\.attentions\.0", lambda m: f"input_blocks.{2 * int(m[1]) + 1}.1", name)
        name = re.sub(
            r"^down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{2 * int(m[1]) + 2}.0.op", name
        )
        name = re.sub(
            r"^up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"output_blocks.{2 * int(m[1]) + int(m[2])}.0", name
        )
        name = re.sub(
            r"^up_blocks\.(\d)\.attentions\.(\d)", lambda m: f"output_blocks.{2 * int(m[1]) + int(m[2])}.1", name
        )
        return re.sub(
            r"^up_blocks\.(\d)\.upsamplers\.0",
            lambda m: f"output_blocks.{2 * int(m[1]) + 1}.{2 if m[1] in attends else 1}",
            name,
        )

    return {
        _renamed(numbered(name), [*UNET, *(RESNET if ".resnets." in name else [])]): w for name, w in weights.items()
    }


def _vae(weights: Weights) -> Weights:
    """The decoder's blocks are counted from the other end, and its attention is written as 1x1 convolutions."""
    last = max(int(match[1]) for name in weights if (match := re.match(r"decoder\.up_blocks\.(\d)", name)))

    def counted(name: str) -> str:
        name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{last - int(m[1])}.block.{m[2]}", name)
        return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{last - int(m[1])}.upsample", name)

    def shaped(name: str, weight: torch.Tensor) -> torch.Tensor:
        return weight[:, :, None, None] if "attentions" in name and weight.ndim == 2 else weight

    return {_renamed(counted(name), VAE): shaped(name, weight) for name, weight in weights.items()}


def _open_clip(weights: Weights) -> Weights:
    """The second text encoder comes from another implementation, which keeps query, key and value in one matrix."""
    found = {"text_projection": weights["text_projection.weight"].T}
    for name, weight in weights.items():
        if match := re.fullmatch(r"(.*)self_attn\.q_proj\.(weight|bias)", name):
            parts = [weights[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            found[_renamed(match[1], OPEN_CLIP) + f"attn.in_proj_{match[2]}"] = torch.cat(parts)
        elif not re.search(r"[kv]_proj|text_projection", name):
            found[_renamed(name, OPEN_CLIP)] = weight
    return found
