"""How good the small SDXL is, on captions it was never trained on, judged by a network that knows only scenes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageDraw

from training import checkpoints
from training.captions import caption
from training.facts import SPOTS, UNSAID, facts
from training.fluent_emoji import sprites
from training.judge import SIDE, Network, Seen, Verdict, judged
from training.pictures import to_pictures
from training.plain_decoder import PlainDecoder
from training.scenes import scene
from training.sdxl_encoder import patches_of
from training.sdxl_unet import SdxlUnet
from training.stages import frozen_sdxl_vae
from training.task import best_device, training_folder
from training.words import OBJECTS, PLACES, TIMES

CAPTIONS: Final[Path] = Path(__file__).with_name("held_out.tsv")
SEED: Final[int] = 1 << 43
COUNT: Final[int] = 200
OF_EACH: Final[int] = 4  # at least so many captions with each object
TARGETS: Final[dict[str, float]] = {
    "place": 0.95,
    "time": 0.95,
    "position": 0.90,
    "colour": 0.85,
    "object": 0.80,
    "two objects": 0.60,
}
ROWS: Final[int] = 4
FAILURES: Final[int] = 40


@dataclass(frozen=True)
class HeldOut:
    """A caption and what it says."""

    text: str
    place: str | None
    time: str | None
    things: tuple[tuple[str, str | None, str | None], ...]  # name, colour, position


def held_out() -> list[HeldOut]:
    """The list that is kept beside this file."""
    rows = [line.split("\t") for line in CAPTIONS.read_text().splitlines()]
    return [_said(int(seed), text) for seed, text in rows]


def choose() -> str:
    """Returns the list, as it was made once: every object comes up, and a third of the captions have two."""
    seen: Counter[str] = Counter()
    lines: list[str] = []
    for seed in range(SEED, SEED + 100 * COUNT):
        drawn = scene(seed)
        rare = min(seen[thing.name] for thing in drawn.things) < OF_EACH
        if rare or len(lines) + (len(OBJECTS) * OF_EACH - sum(min(n, OF_EACH) for n in seen.values())) < COUNT:
            seen.update(thing.name for thing in drawn.things)
            lines.append(f"{seed}\t{caption(drawn, np.random.default_rng(seed))}")
        if len(lines) == COUNT:
            break
    return "\n".join(lines) + "\n"


def evaluate(count: int, steps: int, guidance: float, plain: bool) -> str:
    """Draw the first `count` of the captions and return the table, worst first. Failures are drawn into the training
    folder. With `plain`, latents become pictures by their linear map, without the decoder."""
    folder, device = training_folder(), best_device()
    pictures = sprites(folder)
    patches = patches_of(frozen_sdxl_vae(pictures, folder))
    model = SdxlUnet(pictures, device, patches, folder)
    judge, decoder = Network(), PlainDecoder(patches)
    checkpoints.load_averaged(folder / "sdxl-unet.pt", dict(model.modules()))
    checkpoints.load_averaged(folder / "sdxl-judge.pt", {"judge": judge})
    checkpoints.load_averaged(folder / "sdxl-decoder.pt", {"decoder": decoder})
    for network in (*model.modules().values(), judge, decoder):
        network.to(device.torch).eval()
    told = held_out()[:count]
    drawn: list[np.ndarray] = []
    for first in range(0, len(told), ROWS):
        texts = [each.text for each in told[first : first + ROWS]]
        for latents in model.generate(texts, 1024, steps, guidance, seed=first):
            picture = patches.cells(latents) if plain else _decoded(decoder, latents)
            drawn.append(_small(picture))
        print(f"{len(drawn)} of {len(told)}", end="\r", flush=True)
    verdicts = [judged(judge, picture[None], device)[0] for picture in drawn]
    answers = [dict(right(*both)) for both in zip(told, verdicts, strict=True)]
    failed = [number for number, each in enumerate(answers) if not all(each.values())][:FAILURES]
    checkpoints.save_picture(
        folder / "evaluation-sdxl.png",
        _grid([(drawn[number], told[number].text, _wrong(answers[number])) for number in failed]),
    )
    return _table(told, answers)


def right(told: HeldOut, verdict: Verdict) -> Iterator[tuple[str, bool]]:
    """What the caption says, and whether the picture shows it."""
    if told.place:
        yield "place", verdict.place == told.place
    if told.time:
        yield "time", verdict.time == told.time
    if len(told.things) == 1:
        name, colour, position = told.things[0]
        yield "object", verdict.things[0].name == name
        if position:
            yield "position", verdict.things[0].position == position
        if colour:
            yield "colour", verdict.things[0].colour == colour
        return
    seen = sorted(verdict.things, key=lambda thing: thing.position)  # "left" is before "right"
    names = [name for name, _, _ in told.things]
    yield "two objects", [thing.name for thing in seen] == names
    yield from ((f"colour {place}", thing.colour == colour) for place, thing, colour in _coloured(told, seen))


def _coloured(told: HeldOut, seen: Sequence[Seen]) -> Iterator[tuple[int, Seen, str]]:
    for number, ((_, colour, _), thing) in enumerate(zip(told.things, seen, strict=True)):
        if colour:
            yield number, thing, colour


def _said(seed: int, text: str) -> HeldOut:
    drawn = scene(seed)
    answers = facts(drawn, text)
    spots = answers[3:].reshape(len(SPOTS), -1)
    things = []
    for thing in drawn.things:
        spot = next(
            spot for spot, row in zip(SPOTS, spots, strict=True) if row[0] == 1 + list(OBJECTS).index(thing.name)
        )
        things.append((thing.name, thing.colour, None if spot == "anywhere" else spot))
    place, time = (
        None if answers[number] == UNSAID else list(table)[answers[number] - 1]
        for number, table in enumerate((PLACES, TIMES))
    )
    return HeldOut(text, place, time, tuple(things))


@torch.no_grad()
def _decoded(decoder: PlainDecoder, latents: np.ndarray) -> np.ndarray:
    device = next(decoder.parameters()).device
    picture: np.ndarray = to_pictures(decoder(torch.from_numpy(latents)[None].to(device)))[0]
    return picture


def _small(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX))


def _wrong(answers: dict[str, bool]) -> str:
    return "not: " + ", ".join(name for name, fine in answers.items() if not fine)


def _table(told: Sequence[HeldOut], answers: Sequence[dict[str, bool]]) -> str:
    """What was aimed at first, then each object and colour, the worst first."""
    found: defaultdict[str, list[bool]] = defaultdict(list)
    apart: defaultdict[str, list[bool]] = defaultdict(list)
    for each, answer in zip(told, answers, strict=True):
        for name, fine in answer.items():
            found[name.split(" ")[0] if name.startswith("colour") else name].append(fine)
            if name == "object":
                apart[f"a {each.things[0][0]}"].append(fine)
            elif name == "colour" and each.things[0][1]:
                apart[f"{each.things[0][1]} things"].append(fine)
    lines = [
        f"{name:12} {np.mean(rows):6.1%} of {len(rows):3}   aim {TARGETS[name]:.0%}"
        for name, rows in sorted(found.items(), key=lambda item: np.mean(item[1]) - TARGETS[item[0]])
    ]
    parts = sorted(apart.items(), key=lambda item: (np.mean(item[1]), -len(item[1])))
    lines += ["", *(f"{name:16} {sum(rows):3} of {len(rows):3}" for name, rows in parts)]
    return "\n".join(lines)


def _grid(failures: Sequence[tuple[np.ndarray, str, str]]) -> Image.Image:
    """Eight a row, with what was asked for and what is wrong below."""
    width, height, columns = 2 * SIDE, 2 * SIDE + 48, 8
    rows = max(1, -(-len(failures) // columns))
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for number, (picture, text, wrong) in enumerate(failures):
        x, y = number % columns * width, number // columns * height
        sheet.paste(Image.fromarray(picture).resize((width, width)), (x, y))
        ImageDraw.Draw(sheet).multiline_text(
            (x + 2, y + width + 2), f"{text[:42]}\n{text[42:84]}\n{wrong}", fill="black"
        )
    return sheet
