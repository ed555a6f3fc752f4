"""What the environment says reaches the worker; what makes no sense is refused by name."""

import pytest

from chat_service.config import ChatConfig
from shared.config import load


def sources(**options: str) -> dict[str, str]:
    """Where each logical model is loaded from."""
    return {model.name: model.source for model in ChatConfig(**options).models}


def test_one_model_serves_both_names_unless_two_are_given() -> None:
    assert sources(model="a") == {"qwen_instruct": "a", "qwen_base": "a"}
    assert sources(model="a", base_model="b") == {"qwen_instruct": "a", "qwen_base": "b"}


def test_a_folder_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert sources(model="~/models/chat")["qwen_instruct"] == "/home/someone/models/chat"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"MODEL": "a", "BASE_MODEL": "b", "SLOTS": "3", "WAITING": "0", "CONTEXT_TOKENS": "4096"}
    for name, value in wanted.items():
        monkeypatch.setenv(f"ATELIER_{name}", value)
    config = load(ChatConfig, "chat_service", [])
    assert (config.model, config.base_model) == ("a", "b")
    assert (config.slots, config.waiting, config.context_tokens) == (3, 0, 4096)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "ATELIER_MODEL"),
        (["--model="], "ATELIER_MODEL"),
        (["--model=a", "--slots=0"], "ATELIER_SLOTS"),
        (["--model=a", "--context-tokens=255"], "ATELIER_CONTEXT_TOKENS"),
        (["--model=a", "--worker-id="], "ATELIER_WORKER_ID"),
    ],
    ids=str,
)
def test_a_mistake_is_named(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        load(ChatConfig, "chat_service", arguments)
    assert stopped.value.code == 2
    assert f"{named}: " in capsys.readouterr().err
