"""The ways to make a clip, one file for each of diffusers' pipeline classes, by what `model_index.json` names."""

from wan_service.engine.pipelines import text_to_video

PIPELINES = {"WanPipeline": text_to_video}
