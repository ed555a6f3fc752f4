import pytest

from atelier.contracts.errors import CapabilityMissing, InvalidRequest
from atelier.contracts.json_form import from_spec_dict
from atelier.pb.chat.v1 import chat_pb2
from atelier.pb.sdxl.v1 import sdxl_pb2
from atelier.pb.wan.v1 import wan_pb2
from atelier.pb.worker.v1 import worker_pb2
from edge_service.domain.capabilities import check_capabilities
from edge_service.domain.kinds import kind_of

MODEL = worker_pb2.Model(name="m", size_multiple=8, min_side=256, max_pixels=1024 * 1024)


def image(resolution: str = "512x512", **fields: object) -> sdxl_pb2.SdxlJob:
    job = {"type": "sdxl_image_fast", "prompt": "a", "config": {"resolution": resolution}, **fields}
    return from_spec_dict(sdxl_pb2.SdxlJob, job)


def video(**config: object) -> wan_pb2.WanJob:
    config = {"width": 480, "height": 832, "reference_mode": "none"} | config
    return from_spec_dict(wan_pb2.WanJob, {"type": "video_fast", "prompt": "a", "config": config})


@pytest.mark.parametrize(
    ("resolution", "bound"),
    [
        ("99999x1", "multiples of 8, got 99999x1"),
        ("516x512", "multiples of 8, got 516x512"),
        ("248x512", "at least 256, got 248x512"),
        ("1024x1032", "at most 1048576 pixels, got 1024x1032"),
        ("0x0", "at least 256, got 0x0"),
    ],
)
def test_a_size_the_model_cannot_do_is_refused_with_the_bound_and_the_value(resolution, bound):
    with pytest.raises(InvalidRequest, match=f"config.resolution: .*{bound}"):
        check_capabilities(image(resolution), [MODEL])


@pytest.mark.parametrize("resolution", ["256x256", "1024x1024", "1032x1016"])
def test_sizes_on_the_bounds_pass(resolution):
    check_capabilities(image(resolution), [MODEL])


def test_one_model_that_can_do_the_size_is_enough():
    check_capabilities(image("2048x2048"), [MODEL, worker_pb2.Model(size_multiple=8, max_pixels=2**24)])


@pytest.mark.parametrize(
    ("job", "field"),
    [
        (image(compel_enabled=True), "compel_enabled"),
        (image(compel_weights="(fox:1.3)"), "compel_weights"),
        (image(metadata={"reference_image_url": "https://example.com/a.png"}), "metadata.reference_image_url"),
        (image(metadata={"reference_type": "style"}), "metadata.reference_type"),
        (video(reference_mode="start"), "config.reference_mode"),
        (video(first_frame="https://example.com/a.png"), "config.first_frame"),
    ],
)
def test_an_ability_the_model_lacks_is_refused_by_field_and_never_ignored(job, field):
    with pytest.raises(CapabilityMissing, match=f"^{field}: no connected model can do"):
        check_capabilities(job, [MODEL])


def test_the_refusal_says_what_could_be_had_instead():
    able = worker_pb2.Model(capabilities=["compel", "reference_composition"])
    asked = image(metadata={"reference_image_url": "https://example.com/a.png", "reference_type": "style"})
    with pytest.raises(CapabilityMissing) as caught:
        check_capabilities(asked, [able])
    says = "metadata.reference_type: no connected model can do reference_style, only reference_composition"
    assert str(caught.value) == says


def test_an_ability_the_model_has_passes():
    check_capabilities(image(compel_enabled=True), [worker_pb2.Model(capabilities=["compel"])])


def test_without_a_connected_model_the_worker_decides():
    check_capabilities(image("99999x1"), [])


@pytest.mark.parametrize(
    ("job", "needed"),
    [
        (image(), []),
        (image(compel_enabled=True, metadata={"reference_type": "style"}), ["compel", "reference_style"]),
        (image(compel_enabled=True, compel_weights="(fox:1.3)"), ["compel"]),
        (video(), []),
        (video(reference_mode="start", first_frame="https://example.com/a.png"), ["reference_start"]),
        (video(image="https://example.com/a.png"), ["reference_single"]),
        (
            image(metadata={"reference_type": "character"}, references={"image": {"key": "a/b"}}),
            ["reference_character"],
        ),
        (video(reference_mode="both"), ["reference_both"]),
        (chat_pb2.ChatRequest(model=chat_pb2.CHAT_MODEL_QWEN_BASE), ["qwen_base"]),
    ],
)
def test_what_a_job_needs_of_a_worker_is_told_in_the_words_workers_offer(job, needed):
    assert kind_of(job).needs(job) == needed
