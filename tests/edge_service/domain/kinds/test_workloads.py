import pytest

from edge_service.domain.kinds import WorkerJob, Workload, kind_of
from tests.kit.cost_jobs import chat, defaults, sdxl


def workload(job: WorkerJob) -> Workload:
    return kind_of(job).workload(job)


@pytest.mark.parametrize(
    "other",
    [
        sdxl(steps=16), sdxl(num_images=3), sdxl(resolution="512x512"), sdxl(guidance_scale=1.0),
    ],
)  # fmt: skip
def test_whatever_decides_the_time_of_an_image_makes_another_kind(other: WorkerJob):
    assert workload(other).name != workload(sdxl()).name


def test_what_does_not_decide_the_time_makes_no_other_kind():
    other = sdxl(seed=7, resolution="1152x896", negative_prompt="blurred", guidance_scale=9.0)
    assert workload(other).name == workload(sdxl()).name


@pytest.mark.parametrize(("field", "value"), [("frames", 41), ("width", 832)])
def test_frames_and_size_make_another_kind_of_video(field: str, value: int):
    other = defaults("video_fast")
    setattr(other.config, field, value)
    assert workload(other).name != workload(defaults("video_fast")).name


def test_steps_make_another_kind_of_video():
    other = defaults("video_fast")
    other.sampling.steps = 10
    assert workload(other).name != workload(defaults("video_fast")).name


def test_the_length_of_question_and_answer_make_another_kind_of_chat_turn():
    kinds = {workload(job).name for job in (chat(), chat(words=2000), chat(max_tokens=2048))}
    assert len(kinds) == 3
    assert workload(chat(words=11)).name in kinds


def test_work_is_proportional_to_pixels_steps_and_images():
    base = workload(sdxl()).units
    assert workload(sdxl(steps=30)).units == pytest.approx(2 * base)
    assert workload(sdxl(num_images=3)).units == pytest.approx(3 * base)
    assert workload(sdxl(resolution="512x512")).units == pytest.approx(base / 4)


@pytest.mark.parametrize("nothing", [sdxl(resolution="0x0"), sdxl(steps=0), sdxl(num_images=0)])
def test_no_job_is_no_work(nothing: WorkerJob):
    assert workload(nothing).units > 0
