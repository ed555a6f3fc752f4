from typing import Any

import pytest
from pydantic import ValidationError

from atelier.contracts.errors import ContentNotAllowed
from atelier.pb.edge.v1 import edge_pb2
from edge_service.domain.content_mode import strictest
from edge_service.moderation.rules import Content, check, content

SFW, NSFW, UNSET = edge_pb2.CONTENT_MODE_SFW, edge_pb2.CONTENT_MODE_NSFW, edge_pb2.CONTENT_MODE_UNSPECIFIED
LISTS = {"bad": {"en": ["bad", "very bad"], "de": ["schlecht*"]}, "who": {"en": ["neighbour"]}}


def rules(*rules: dict[str, Any], **more: Any) -> Content:
    return Content.model_validate({"version": 1, "lists": LISTS, "rules": rules, **more})


def rule(**fields: Any) -> dict[str, Any]:
    return {"id": "r", "modes": ["sfw"], "lists": ["bad"]} | fields


def passes(prompt: str, mode: str, negative: str = "", **who: str) -> bool:
    try:
        check({"prompt": prompt, "config.negative_prompt": negative}, mode, **who)
    except ContentNotAllowed:
        return False
    return True


# The mode.


@pytest.mark.parametrize(
    "modes",
    [
        (), (UNSET,), (None,), (SFW,), (NSFW, SFW), (NSFW, UNSET), (NSFW, NSFW, None), ("nsfw", "sfw"), (NSFW, "NSFW"),
        (NSFW, 3), (NSFW, "explicit"), (NSFW, True), (NSFW, ""),
    ],
)  # fmt: skip
def test_the_strictest_mode_holds_and_whatever_is_unset_or_unknown_is_sfw(modes):
    assert strictest(*modes) == "sfw"


def test_only_three_times_nsfw_is_nsfw():
    assert strictest(NSFW, "nsfw", NSFW) == "nsfw"


# The policy as it is shipped.


@pytest.mark.parametrize(
    "prompt",
    [
        "a nude woman", "n.u.d.e", "nud3", "nackte Frau", "femme nue", "mujer desnuda", "uomo nudo", "naakte man",
        "голая женщина", "裸体", "ヌード", "누드", "nsfw", "a sex scene", "n*de", "🔞",
    ],
)  # fmt: skip
def test_sexual_content_is_refused_in_sfw_and_passes_in_nsfw(prompt: str):
    assert not passes(prompt, "sfw")
    assert passes(prompt, "nsfw")


@pytest.mark.parametrize("prompt", ["a decapitated knight, gore", "zerstückelte Leiche", "血腥"])
def test_extreme_gore_is_refused_in_sfw_pictures(prompt: str):
    assert not passes(prompt, "sfw", worker_type="sdxl")
    assert passes(prompt, "nsfw", worker_type="sdxl")


def test_the_plot_of_a_horror_film_may_be_talked_about():
    assert passes("is this film full of gore?", "sfw", worker_type="chat")
    assert not passes("a film full of gore", "sfw", worker_type="wan")
    assert not passes("a film full of gore", "sfw")


@pytest.mark.parametrize("prompt", ["deepfake of a celebrity, nude", "erotic picture of my neighbour", "nudify this"])
def test_undressing_real_people_is_refused_in_every_mode(prompt: str):
    assert not passes(prompt, "nsfw")
    assert not passes(prompt, "sfw")


@pytest.mark.parametrize(
    "prompt",
    [
        "a red fox in the snow", "Essex classics", "sex education in schools", "breast cancer screening", "a sexton",
        "snakes and rakes", "portrait of a celebrity", "my neighbour's garden", "Dick Turpin",
    ],
)  # fmt: skip
def test_harmless_prompts_pass_in_sfw(prompt: str):
    assert passes(prompt, "sfw", tier="basic")


def test_a_negative_prompt_may_name_what_is_not_to_be_shown():
    assert passes("a woman by the sea", "sfw", "nsfw, nude, naked, gore")


def test_a_negative_prompt_may_not_take_clothes_away():
    assert not passes("a woman by the sea", "sfw", "clothes")
    assert not passes("a woman by the sea, (clothes)0.1", "sfw")
    assert passes("a woman by the sea", "nsfw", "clothes")


def test_guests_are_held_to_more():
    assert not passes("a sexy dress", "sfw", tier="guest")
    assert passes("a sexy dress", "sfw", tier="basic")
    assert not passes("a sexy dress", "sfw"), "a tier that is not said falls under every rule"


def test_no_harmless_word_makes_a_refused_prompt_pass():
    for word in ("museum", "art", "education", "medical", "safe", "sfw"):
        assert not passes(f"{word} nude {word}", "sfw")


def test_the_error_names_rule_field_and_mode_and_nothing_of_the_content():
    with pytest.raises(ContentNotAllowed) as refusal:
        check({"prompt": "a fox", "messages[2].content": "a nude"}, "sfw")
    assert refusal.value.message == "messages[2].content: refused by rule sfw.sexual of content mode sfw"


def test_what_was_checked_is_told():
    told = check({"prompt": "a fox"}, "nsfw")
    assert told == "passes the rules of nsfw: always.real_person, always.undressing_tools"


def test_every_rule_of_the_policy_has_a_mode_in_which_a_text_breaks_it():
    """No rule without an effect: a term from each of its lists breaks it."""
    policy = content()
    for held in policy.rules:
        words = ", ".join(sorted(terms)[0].removesuffix("*") for terms in policy.wanted[held.id])
        field = "x.negative_prompt" if held.where == "taken_back" else "prompt"
        alone = policy.model_copy(update={"rules": [held]})
        with pytest.raises(ContentNotAllowed, match=held.id):
            check({field: words}, held.modes[0], rules=alone)


# Rules in general.


def test_a_rule_with_two_lists_needs_a_term_of_each_wherever_they_stand():
    both = rules(rule(lists=["bad", "who"]))
    check({"prompt": "bad"}, "sfw", rules=both)
    with pytest.raises(ContentNotAllowed, match=r"compel_weights, prompt: refused by rule r"):
        check({"prompt": "bad", "compel_weights": "(neighbour)1.2"}, "sfw", rules=both)


def test_a_rule_of_a_language_reads_its_words_only():
    german = rules(rule(languages=["de"]))
    check({"prompt": "bad"}, "sfw", rules=german)
    with pytest.raises(ContentNotAllowed):
        check({"prompt": "schlechtes Wetter"}, "sfw", rules=german)


def test_a_rule_may_hold_everywhere():
    everywhere = rules(rule(where="everywhere"))
    for field in ("prompt", "config.negative_prompt"):
        with pytest.raises(ContentNotAllowed):
            check({field: "bad"}, "sfw", rules=everywhere)


def test_a_rule_of_another_tier_or_worker_does_not_hold():
    some = rules(rule(tiers=["guest"], worker_types=["sdxl"]))
    assert check({"prompt": "bad"}, "sfw", "basic", "sdxl", some) == "passes the rules of sfw: there are none"
    assert check({"prompt": "bad"}, "sfw", "guest", "chat", some) == "passes the rules of sfw: there are none"
    with pytest.raises(ContentNotAllowed):
        check({"prompt": "bad"}, "sfw", "guest", "sdxl", some)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"lists": {"bad": {"en": ["ok", "a*b"]}}}, "lists.bad.en.1"),
        ({"lists": {"bad": {"en": ["(a+)+b"]}}}, "lists.bad.en.0"),
        ({"lists": {"bad": {"en": []}}}, "lists.bad.en"),
        ({"rules": [rule(lists=["none"])]}, "no list 'none'; known: bad, who"),
        ({"rules": [rule(), rule()]}, "rules.1.id: 'r' is there twice"),
        ({"rules": [rule(languages=["fr"])]}, "its lists have no 'fr'; known: de, en"),
        ({"rules": [rule(modes=["lewd"])]}, "rules.0.modes.0"),
        ({"rules": [rule(mode="sfw")]}, "rules.0.mode"),
        ({"most_explicit": "all"}, "most_explicit"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_mistake_in_the_policy_is_refused_with_its_place(change: dict[str, Any], place: str):
    with pytest.raises(ValidationError) as refusal:
        Content.model_validate({"version": 1, "lists": LISTS, "rules": [rule()]} | change)
    assert place in str(refusal.value)


def test_every_mistake_is_reported_at_once():
    with pytest.raises(ValidationError) as refusal:
        Content.model_validate({"version": 1, "lists": {"bad": {"en": ["", "ab*"]}}, "rules": [rule(modes=[])]})
    assert len(refusal.value.errors()) == 3


def test_a_policy_that_does_not_say_so_permits_nothing_explicit():
    assert rules(rule()).most_explicit == "sfw"
