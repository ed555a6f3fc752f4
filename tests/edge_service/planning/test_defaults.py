import pytest

from atelier.contracts.errors import InvalidRequest
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from edge_service.domain.job_types import job_types
from edge_service.domain.kinds import KINDS
from edge_service.planning.presets import Chosen
from shared.validation import check
from tests.kit.decided import filled_job as fill


def image(**config: object) -> sdxl_pb2.SdxlJob:
    job = {"type": "sdxl_image_high", "prompt": "a fox", "config": config}
    return from_spec_dict(sdxl_pb2.SdxlJob, job)


def why(decisions: list, field: str) -> str:
    return next(decision.why for decision in decisions if decision.field == field)


# Steps, guidance and frames of every video and still.
WAN = {
    "image_fast": (25, 6.5, 1),
    "image_high": (50, 7.5, 1),
    "image7b_fast_enhanced": (25, 6.5, 1),
    "image7b_high_enhanced": (50, 7.5, 1),
    "video_fast": (25, 6.5, 83),
    "video_high": (50, 7.5, 83),
    "video7b_fast_enhanced": (25, 6.5, 83),
    "video7b_high_enhanced": (50, 7.5, 83),
}
# Steps and guidance of every image.
SDXL = {"sdxl_image_fast": (15, 6.0), "sdxl_image_high": (25, 7.5)}
CREDITS = {
    "sdxl_image_fast": 1,
    "sdxl_image_high": 2,
    "image_fast": 2,
    "image_high": 3,
    "image7b_fast_enhanced": 2,
    "image7b_high_enhanced": 3,
    "video_fast": 4,
    "video_high": 6,
    "video7b_fast_enhanced": 5,
    "video7b_high_enhanced": 6,
    "chat_turn": 1,
}


def test_no_job_type_is_without_numbers():
    assert {*WAN, *SDXL, "chat_turn"} == set(job_types()) == set(CREDITS)


@pytest.mark.parametrize("type_name", WAN)
def test_wan_job_types_have_the_numbers_of_the_specification(type_name):
    job = fill(from_spec_dict(wan_pb2.WanJob, {"type": type_name, "prompt": "a fox"})).job
    assert (job.sampling.steps, job.sampling.guidance_scale, job.config.frames) == WAN[type_name]
    assert (job.config.width, job.config.height, job.config.fps, job.sampling.flow_shift) == (480, 832, 24, 5.0)


@pytest.mark.parametrize("type_name", SDXL)
def test_image_job_types_have_the_numbers_of_the_specification(type_name):
    config = fill(from_spec_dict(sdxl_pb2.SdxlJob, {"type": type_name, "prompt": "a fox"})).job.config
    assert (config.steps, config.guidance_scale) == SDXL[type_name]
    assert (config.resolution, config.num_images) == ("1024x1024", 1)


def test_chat_has_the_numbers_of_the_specification():
    chat = fill(from_spec_dict(chat_pb2.ChatRequest, {"messages": [{"role": "user", "content": "hi"}]})).job
    assert (chat.max_tokens, chat.temperature, chat.top_p) == (512, 0.7, 0.9)
    assert (chat.model, chat.sfw_mode) == (chat_pb2.CHAT_MODEL_QWEN_INSTRUCT, False)


@pytest.mark.parametrize("name", job_types())
def test_a_job_costs_what_its_type_says(name):
    assert job_types()[name].credits == CREDITS[name]


@pytest.mark.parametrize("name", job_types())
def test_those_types_are_enhanced_that_are_called_so(name):
    assert job_types()[name].enhanced == name.endswith("_enhanced")


@pytest.mark.parametrize("name", job_types())
def test_every_job_type_fills_a_job_that_a_worker_accepts(name):
    cls = KINDS[job_types()[name].worker_type].job_class
    if cls is chat_pb2.ChatRequest:
        job = fill(from_spec_dict(cls, {"messages": [{"role": "user", "content": "hi"}]})).job
        check(chat_pb2.GenerateRequest(job_id="chat_turn_1_abcdef", user_id="u", request=job))
        return
    job = fill(from_spec_dict(cls, {"type": name, "prompt": "a fox"})).job
    job.id, job.user_id = f"{name}_1_abcdef", "u"
    generate = sdxl_pb2.GenerateRequest if cls is sdxl_pb2.SdxlJob else wan_pb2.GenerateRequest
    check(generate(job=job))


def test_what_the_request_says_wins_over_preset_and_type():
    filled = fill(image(steps=30), Chosen("sdxl_image_fast"))
    assert filled.job.config.steps == 30
    assert why(filled.decisions, "config.steps") == "request"


def test_a_preset_wins_over_the_job_type_and_says_so():
    filled = fill(image(), Chosen("sdxl_image_fast"))
    assert filled.job.config.steps == 15
    assert why(filled.decisions, "config.steps") == "preset sdxl_image_fast"


def test_every_default_says_where_it_came_from():
    assert why(fill(image()).decisions, "config.steps") == "default of sdxl_image_high"


def test_zero_and_empty_are_values():
    filled = fill(from_spec_dict(chat_pb2.ChatRequest, {"messages": [], "temperature": 0, "top_p": 0}))
    assert (filled.job.temperature, filled.job.top_p) == (0.0, 0.0)


def test_seed_zero_is_a_seed():
    job = fill(image(seed=0, num_images=3)).job
    assert (job.config.seed, list(job.sampling.seeds)) == (0, [0, 1, 2])


def test_seeds_wrap_at_the_end_of_their_range():
    assert list(fill(image(seed=2**31 - 1, num_images=3)).job.sampling.seeds) == [2**31 - 1, 0, 1]


def test_missing_seeds_are_drawn_and_differ():
    seeds = {fill(image()).job.config.seed for _ in range(20)}
    assert len(seeds) == 20


def test_missing_seeds_of_videos_are_drawn_differ_and_are_told():
    drawn = [fill(from_spec_dict(wan_pb2.WanJob, {"type": "video_fast", "prompt": "a fox"})) for _ in range(20)]
    seeds = {filled.job.sampling.seed for filled in drawn}
    assert len(seeds) == 20
    assert all(filled.job.sampling.HasField("seed") for filled in drawn)
    assert max(seeds) <= 2147483647
    for filled in drawn:
        assert why(filled.decisions, "sampling.seed") == "drawn at random"
        [told] = [decision.to for decision in filled.decisions if decision.field == "sampling.seed"]
        assert told == str(filled.job.sampling.seed)


def test_seeds_of_ones_own_are_kept_and_the_first_is_the_jobs():
    job = image(num_images=3)
    job.sampling.seeds.extend([7, 7, 9])
    filled = fill(job).job
    assert (list(filled.sampling.seeds), filled.config.seed) == ([7, 7, 9], 7)


def test_seeds_of_ones_own_must_be_one_per_image():
    job = image(num_images=3)
    job.sampling.seeds.extend([7])
    with pytest.raises(InvalidRequest, match=r"sampling\.seeds: must have one seed per image \(3\), got 1"):
        fill(job)


@pytest.mark.parametrize("preset", ["video_fast", "nonsense"])
def test_a_preset_that_does_not_fit_is_refused_by_name(preset):
    with pytest.raises(InvalidRequest, match=f"preset: must be one of sdxl_draft, sdxl_image_fast, .*, got '{preset}'"):
        fill(image(), Chosen(preset))


def test_the_request_itself_is_not_changed():
    job = image()
    before = job.SerializeToString()
    fill(job)
    assert job.SerializeToString() == before
