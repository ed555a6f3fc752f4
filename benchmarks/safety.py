"""How often the refusal of `edge_service/moderation/minors.py` is right, and what it and the content rules cost.

    python -m benchmarks.safety [--misses]

Reads the two sets beside the tests: what must be refused, in every disguise, and what people ask that is harmless.
Times are CPU time of one core. `--misses` lists what was judged wrongly.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from atelier.contracts.errors import ContentForbidden
from edge_service.moderation import minors as safety
from edge_service.moderation import rules as content

SETS = Path(__file__).parent.parent / "tests" / "edge_service" / "moderation"
MAX_CHARACTERS = 262_144  # characters that a conversation may have
SMALL = "abcdefghijklmnopqrstuvwxyz"
PROMPT = "a red fox in the snow, golden evening light, highly detailed, sharp focus, 35mm, award winning photo "


def _letters(others: str) -> Callable[[str], str]:
    return lambda text: text.lower().translate(str.maketrans(SMALL, others))


def _between(sign: str) -> Callable[[str], str]:
    return lambda text: " ".join(sign.join(word) for word in text.split())


def _middle(sign: str) -> Callable[[str], str]:
    """Puts a sign into the middle of each word of letters."""
    return lambda text: " ".join(
        word[: len(word) // 2] + sign + word[len(word) // 2 :] if word.isalpha() else word for word in text.split()
    )


DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "capitals": str.upper,
    "fullwidth": lambda text: "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text),
    "mathematical": _letters("".join(chr(0x1D4EA + place) for place in range(26))),
    "circled": _letters("".join(chr(0x24D0 + place) for place in range(26))),
    "small capitals": _letters("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘqʀsᴛᴜᴠᴡxʏᴢ"),
    "cyrillic": _letters("аbсdеfgһіјklmnорqrѕtuvwхуz"),
    "greek": _letters("αbcdεfghιjκlmnορqrsτυvwχyz"),
    "leetspeak": lambda text: text.translate(str.maketrans("aeiost", "4310$7")),
    "zero width": _between("\u200b"),
    "combining": lambda text: "".join(sign + "\u0336" if sign.isalpha() else sign for sign in text),
    "accents": _letters("àbcdéfghíjklmñöpqrstüvwxýz"),
    "dotted": _between("."),
    "spaced": _between(" "),
    "hyphen": _middle("-"),
    "soft hyphen": _middle("\u00ad"),
    "repeated": lambda text: "".join(sign * 3 if sign in "aeiou" else sign for sign in text),
    "underscores": lambda text: text.replace(" ", "_"),
    "brackets": lambda text: " ".join(f"({word})1.2" if word.isalpha() else word for word in text.split()),
}


def adversarial() -> Iterator[tuple[str, dict[str, str]]]:
    """What must be refused: a name, and the texts of the request by field."""
    plain = _read("adversarial.yaml")
    pairs = [(minor, sexual) for minor in plain["minors"] for sexual in plain["sexual"]]
    for place, (minor, sexual) in enumerate(pairs):
        text = plain["orders"][place % len(plain["orders"])].format(minor=minor, sexual=sexual)
        yield text, {"prompt": text}
    for place, minor in enumerate(plain["minors"]):
        sexual = plain["sexual"][place % len(plain["sexual"])]
        for name, disguise in DISGUISES.items():
            yield f"{name}: {minor}, {sexual}", {"prompt": f"{disguise(minor)}, {disguise(sexual)}"}
    for text in plain["written"]:
        yield text, {"prompt": text}
    for texts in plain["requests"]:
        yield str(texts), texts


def benign() -> Iterator[tuple[str, str]]:
    """What should pass: a category and a prompt."""
    for category, prompts in _read("benign.yaml").items():
        yield from ((category, prompt) for prompt in prompts)


def is_refused(texts: Mapping[str, str]) -> bool:
    try:
        safety.refuse(texts)
    except ContentForbidden:
        return True
    return False


def _read(name: str) -> Any:
    return yaml.safe_load((SETS / name).read_text())


def _milliseconds(call: Callable[[], object], rounds: int) -> float:
    began = time.process_time()
    for _ in range(rounds):
        call()
    return (time.process_time() - began) / rounds * 1000


def hostile(length: int = MAX_CHARACTERS) -> dict[str, str]:
    """Texts of about a length that would take long if anything took more than linear time."""
    return {
        "one letter": "a" * length,
        "single letters": "a b " * (length // 4),
        "dots": "a." * (length // 2),
        "brackets": "(a" * (length // 2),
        "asterisks": "t*n " * (length // 4),
        "combining marks": "a" + "\u0301\u0323" * (length // 2),
        "ligatures that grow": "\ufdfa" * length,
        "numbers in brackets": "⒁" * length,
        "numbers": "12 " * (length // 3),
        "glued words": "teenkid" * (length // 7),
        "all different": "".join(chr(0x100 + place * 40503 % 0xD000) for place in range(length)),
        "a long novel": PROMPT * (length // len(PROMPT)),
    }


def main(misses: bool) -> None:
    forbidden, harmless = list(adversarial()), list(benign())
    passed = [name for name, texts in forbidden if not is_refused(texts)]
    refused = [f"{category}: {prompt}" for category, prompt in harmless if is_refused({"prompt": prompt})]
    print(f"{'must be refused':24}{len(forbidden):6}  refused {1 - len(passed) / len(forbidden):8.2%}")
    print(f"{'harmless':24}{len(harmless):6}  passed  {1 - len(refused) / len(harmless):8.2%}")
    if misses:
        print(*(f"  passed   {name}" for name in passed), *(f"  refused  {name}" for name in refused), sep="\n")
    content.check({"prompt": PROMPT}, "sfw")  # makes the index of the rules
    for length in (100, 1000):
        texts = {"prompt": (PROMPT * 11)[:length]}
        refusal = _milliseconds(lambda texts=texts: is_refused(texts), 100)
        rules = _milliseconds(lambda texts=texts: content.check(texts, "sfw"), 100)
        print(f"prompt of {length:5} characters: refusal {refusal:5.2f} ms, content rules {rules:5.2f} ms")
    for name, text in hostile().items():
        spent = _milliseconds(lambda text=text: is_refused({"prompt": text}), 1)
        print(f"{len(text)} characters, {name:22} {spent:7.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--misses", action="store_true", help="list what was judged wrongly")
    main(parser.parse_args().misses)
