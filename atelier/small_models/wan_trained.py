"""The trained small Wan: the networks' shapes and tokenizer, which training shares, and the pipeline they make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanVACEPipeline, WanVACETransformer3DModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from atelier.small_models import weights

LATENT_CHANNELS: Final[int] = 16
SPATIAL: Final[int] = 16  # and the transformer's patches make 32 of it
TEMPORAL: Final[int] = 4
TEXT_WIDTH: Final[int] = 96
MAX_TOKENS: Final[int] = 512
SPECIAL_TOKENS: Final[tuple[str, ...]] = ("<pad>", "</s>", "<unk>")
FLOW_SHIFT: Final[float] = 5.0


def make(folder: Path) -> None:
    """Write the whole pipeline of the shipped weights into `folder` as safetensors."""
    shipped, notes = weights.read("wan")
    words = tokenizer(notes["words"])
    parts = {"vae": vae(), "transformer": transformer(), "text_encoder": text_encoder(len(words))}
    for name, module in parts.items():
        module.load_state_dict(shipped[name])
    pipeline = WanVACEPipeline(tokenizer=words, scheduler=scheduler(), **parts)
    pipeline.save_pretrained(folder, safe_serialization=True)


def vae() -> AutoencoderKLWan:
    """Wan 2.2's kind: 16x in space, of which 2x are patches of pixels, and 4x in time."""
    return AutoencoderKLWan(
        base_dim=12,  # decoding 85 frames is half of the time of a default clip
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 1, 4, 4],
        num_res_blocks=1,
        # For three levels. WanVACEPipeline takes the length of this list for the power of two of the compression in
        # space and forgets the patches; the encoder reads it from the front and the decoder from the back.
        temperal_downsample=[False, True, True, False],
        # Training brings every channel to mean 0 and deviation 1 by itself.
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_temporal=TEMPORAL,
        scale_factor_spatial=SPATIAL,
    )


def transformer() -> WanVACETransformer3DModel:
    """On a CPU time goes into attention between the 8,190 positions of a default clip and grows with heads x layers:
    few of both, and wide feed-forward layers, which cost little."""
    return WanVACETransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=1,
        attention_head_dim=128,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=768,
        num_layers=2,
        vace_layers=[0],
        # What stays and what is to be made, and a mask value for every pixel of a position.
        vace_in_channels=2 * LATENT_CHANNELS + SPATIAL * SPATIAL,
    )


def text_encoder(vocabulary: int) -> UMT5EncoderModel:
    """UMT5's encoder, three layers."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary,
            d_model=TEXT_WIDTH,
            d_kv=24,
            d_ff=256,
            num_layers=3,
            num_heads=4,
            is_decoder=False,
        )
    )


def scheduler() -> UniPCMultistepScheduler:
    """Wan's own: flow prediction with UniPC."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=FLOW_SHIFT, num_train_timesteps=1000
    )


def tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token a word, in any case; a word it does not know is `<unk>`, which training has taught to be harmless."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL_TOKENS, *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    pad_token, eos_token, unk_token = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=pad_token,
        eos_token=eos_token,
        unk_token=unk_token,
        model_max_length=MAX_TOKENS,
    )
