"""The words of enum values."""

import pytest

from atelier.contracts.validation import enum_word


@pytest.mark.parametrize(
    ("enum", "value", "word"),
    [
        ("JobStatus", "JOB_STATUS_FAILED", "failed"),
        ("SdxlJobType", "SDXL_JOB_TYPE_SDXL_IMAGE_HIGH", "sdxl_image_high"),
        ("WanJobType", "WAN_JOB_TYPE_IMAGE7B_FAST_ENHANCED", "image7b_fast_enhanced"),
    ],
)
def test_an_enum_value_has_the_bare_word_of_the_specification(enum: str, value: str, word: str) -> None:
    assert enum_word(enum, value) == word
