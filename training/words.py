"""What scenes are made of, and the words that captions have for it. The first word of each tuple is the plainest."""

from typing import Final

# Object -> (icon of Fluent Emoji flat, words for it).
OBJECTS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "fox": ("fox", ("fox",)),
    "cat": ("cat-face", ("cat", "kitten")),
    "dog": ("dog-face", ("dog", "puppy")),
    "bear": ("bear", ("bear",)),
    "rabbit": ("rabbit-face", ("rabbit", "bunny")),
    "panda": ("panda", ("panda",)),
    "penguin": ("penguin", ("penguin",)),
    "frog": ("frog", ("frog",)),
    "fish": ("tropical-fish", ("fish",)),
    "bird": ("bird", ("bird",)),
    "owl": ("owl", ("owl",)),
    "lion": ("lion", ("lion",)),
    "elephant": ("elephant", ("elephant",)),
    "turtle": ("turtle", ("turtle",)),
    "butterfly": ("butterfly", ("butterfly",)),
    "whale": ("spouting-whale", ("whale",)),
    "snail": ("snail", ("snail",)),
    "pig": ("pig-face", ("pig",)),
    "duck": ("duck", ("duck",)),
    "horse": ("horse-face", ("horse",)),
    "tree": ("deciduous-tree", ("tree",)),
    "pine": ("evergreen-tree", ("pine", "fir")),
    "palm": ("palm-tree", ("palm",)),
    "cactus": ("cactus", ("cactus",)),
    "sunflower": ("sunflower", ("sunflower",)),
    "rose": ("rose", ("rose",)),
    "mushroom": ("mushroom", ("mushroom",)),
    "car": ("automobile", ("car", "automobile")),
    "bus": ("bus", ("bus",)),
    "bicycle": ("bicycle", ("bicycle", "bike")),
    "rocket": ("rocket", ("rocket", "spaceship")),
    "boat": ("sailboat", ("boat", "sailboat")),
    "airplane": ("airplane", ("airplane", "plane")),
    "train": ("locomotive", ("train", "locomotive")),
    "apple": ("red-apple", ("apple",)),
    "pizza": ("pizza", ("pizza",)),
    "cake": ("birthday-cake", ("cake",)),
    "burger": ("hamburger", ("burger", "hamburger")),
    "banana": ("banana", ("banana",)),
    "strawberry": ("strawberry", ("strawberry",)),
    "house": ("house", ("house", "cottage")),
    "castle": ("castle", ("castle",)),
    "balloon": ("balloon", ("balloon",)),
    "umbrella": ("umbrella", ("umbrella",)),
    "ball": ("soccer-ball", ("ball", "football")),
    "heart": ("red-heart", ("heart",)),
    "crown": ("crown", ("crown",)),
    "robot": ("robot", ("robot",)),
    "snowman": ("snowman-without-snow", ("snowman",)),
    "guitar": ("guitar", ("guitar",)),
}

# Place -> phrases that follow the object, and words that may stand alone.
PLACES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "snow": (("in the snow", "on snow", "in a snowy field", "in winter"), ("snow", "winter")),
    "meadow": (("on the grass", "in a meadow", "on a green meadow", "in a green field"), ("meadow", "grass")),
    "desert": (("in the desert", "in a sandy desert", "among the dunes"), ("desert", "dunes")),
    "beach": (("on the beach", "on a beach", "on the sand by the sea"), ("beach",)),
    "sea": (("on the sea", "on the water", "in the ocean", "at sea"), ("sea", "ocean", "water")),
    "forest": (("in the forest", "in a forest", "in the woods"), ("forest", "woods")),
    "city": (("in the city", "in a city", "in front of a skyline", "in town"), ("city", "skyline")),
    "mountains": (("in the mountains", "in front of mountains", "before the mountains"), ("mountains",)),
}

TIMES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "day": (("by day", "on a sunny day", "at noon", "under a blue sky"), ("day", "daylight", "sunny")),
    "night": (("at night", "under the stars", "at night, under the stars", "at midnight"), ("night", "starry night")),
    "sunset": (("at sunset", "in golden evening light", "in the evening", "at dusk"), ("sunset", "evening")),
    "dawn": (("at dawn", "at sunrise", "in the early morning", "in pink morning light"), ("dawn", "sunrise")),
}

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (226, 33, 40),
    "orange": (247, 126, 20),
    "yellow": (250, 213, 38),
    "green": (50, 168, 66),
    "blue": (34, 92, 224),
    "purple": (132, 58, 200),
    "pink": (248, 112, 190),
}

# Where the middle of the object stands, as a share of the picture's width, and how captions say it.
POSITIONS: Final[dict[str, tuple[tuple[float, float], tuple[str, ...]]]] = {
    "left": ((0.17, 0.31), ("on the left", "on the left side", "to the left")),
    "middle": ((0.43, 0.57), ("in the middle", "in the center", "in the centre")),
    "right": ((0.69, 0.83), ("on the right", "on the right side", "to the right")),
}

# Share of the picture's shorter side, and the words; an object of middle size is not spoken of.
SIZES: Final[dict[str, tuple[tuple[float, float], tuple[str, ...]]]] = {
    "small": ((0.17, 0.23), ("small", "little", "tiny")),
    "medium": ((0.30, 0.40), ()),
    "big": ((0.52, 0.64), ("big", "large", "huge")),
}

WEATHERS: Final[dict[str, tuple[str, ...]]] = {
    "clear": (),
    "clouds": ("with clouds", "under white clouds", "cloudy"),
    "fog": ("in the fog", "in mist", "foggy"),
}

MOTIONS: Final[dict[str, tuple[str, ...]]] = {
    "left": ("moves to the left", "moving left", "goes left", "glides to the left"),
    "right": ("moves to the right", "moving right", "goes right", "glides to the right"),
    "up": ("rises", "moves up", "flies up", "moving up"),
    "down": ("sinks", "moves down", "comes down", "moving down"),
    "grows": ("grows", "gets bigger", "becomes bigger", "comes closer"),
    "turns": ("turns around", "turns", "spins", "rotates"),
    "bounces": ("bounces", "jumps", "hops up and down", "bounces up and down"),
    "nightfall": ("stands while night falls", "while day turns to night", "as it gets dark", "from day to night"),
    "stands": ("stands still", "stands", "is still", ""),
}

# Words of presets and of habit. They mean nothing to a scene: a prompt with them draws what it draws without.
FRAMES: Final[tuple[str, ...]] = (
    "a photograph of {}, natural light, 35mm",
    "{}, cinematic still, dramatic lighting, shallow depth of field",
    "{}, watercolor painting, soft washes, paper texture",
    "{}, line art, clean black ink lines on white",
    "{}, sharp focus, highly detailed",
    "{}, masterpiece, best quality",
    "a picture of {}",
    "an illustration of {}, flat colors",
    "{}, beautiful, 4k",
    "there is {}",
)
FLAWS: Final[tuple[str, ...]] = (
    "blurry, low quality, watermark, text",
    "blurry, low quality, jpeg artifacts, watermark, text, deformed",
    "drawing, painting, render",
    "drawing, cartoon",
    "photograph, render",
    "color, shading, photograph",
    "bad anatomy, ugly, worst quality",
    "overexposed, static, subtitles, deformed",
)


def every_text() -> list[str]:
    """Every piece of text a caption may be made of, for vocabularies."""
    texts = ["a an one the and next to beside on in of"]
    texts += [word for _, names in OBJECTS.values() for word in names]
    texts += [text for table in (PLACES, TIMES) for phrases in table.values() for part in phrases for text in part]
    texts += [text for table in (POSITIONS, SIZES) for _, part in table.values() for text in part]
    texts += [text for table in (WEATHERS, MOTIONS) for part in table.values() for text in part]
    return [*texts, *COLOURS, *(frame.replace("{}", "") for frame in FRAMES), *FLAWS]
