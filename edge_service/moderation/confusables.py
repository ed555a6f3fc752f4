"""Characters that are read as another: what a word is written with to get past a list of words."""

import re
import unicodedata

# Letters of other scripts for the Latin letters that they look like, after Unicode's table of confusables (UTS #39)
# and what people write besides. The lists of words go the same way, so Russian words still meet Russian words.
OTHER_SCRIPTS = {
    "a": "ΑαАаᎪᗅꓮ𐊠𖽀",
    "b": "ΒβВЬвьᏏᏴᑲᖯᗷꓐ𐊂𐊡𐌁",
    "c": "СсᏟⲤⲥꓚꮯ𐊢𐌂𐐕𐐽𐔜𑣲",
    "d": "ԀԁᎠᏧᑯᗞᗪꓒꓓ",
    "e": "ΕεЕЗезҼҽᎬ℮ⴹꓰ𐊆𑢦𑢮",
    "f": "Ϝքᖴꓝ𐊇𐊥𐔥𑢢𑣂",
    "g": "ԌԍցᏀᏳꓖ",
    "h": "ΗНнҺһհᎻᏂᕼⲎꓧ𐋏",
    "i": "ΙιІіӀӏᎥꙇꭵ𑣃",
    "j": "ͿϳЈјᎫᒍꓙ",
    "k": "ΚκКкᏦᛕⲔꓗ𐔘",
    "l": "ᏞᒪᛁⲒⳐⵏꓡꓲ𐊊𐌉𐌠𐐛𐔦𑢣𑢲𖼖𖼨",
    "m": "ΜϺМмᎷᗰᛖⲘꓟ𐊰𐌑",
    "n": "ΝηИПипոռⲚꓠ𐔓",
    "o": "ΟοσОоՕօଠഠဝჿዐⲞⲟⵔꓳ𐊒𐊫𐐄𐐬𐓂𐓪𐔖𑢵𑣈𑣗",
    "p": "ΡρРрᏢᑭⲢⲣꓑ𐊕",
    "q": "Ԛԛգզⵕ",
    "r": "ГЯгяᎡᏒᖇᴦⲅꓣꮁ𐒴𖼵",
    "s": "ЅѕՏᏕᏚꓢꮪ𐊖𐐠𐑈𑣁𖼺",
    "t": "ΤτТтᎢⲦꓔ𐊗𐊱𐌕𑢼𖼊",
    "u": "μυՍսሀᑌ∪ꓴ𐓎𐓶𑢸𑣘𖽂",
    "v": "νѴѵᏙᐯ∨⋁ⴸꓦꛟꮩ𐔝𑜆𑢠𑣀𖼈",
    "w": "ωШшѠѡԜԝաᎳᏔꓪꮃ𑜊𑜎𑜏𑣯",
    "x": "×ΧχХхᕁᕽᚷⲬⵝꓫ𐊐𐊴𐌗𐌢𐔧𑣬",
    "y": "ΥγУЧучҮүყᎩᎽⲨꓬ𐊲𑢤𑣜𖽃",
    "z": "ΖᏃꓜꮓ𐋵𑢩𑣄",
}
# Digits and signs for letters; and what stands for more than one letter, with the letters that it merges.
LEET = dict(zip("03456789@$+€¥¢§†", "oeasgtbgasteycst", strict=True))
ALIKE = dict(zip("1l!|£2z", "iiiiiss", strict=True))
SIGNS = "@$!|+€£¥¢§†"

_LATIN_BLOCKS = (0x80, 0x250), (0x250, 0x2B0), (0x1D00, 0x1DC0), (0x2C60, 0x2C80), (0xA720, 0xA800), (0xAB30, 0xAB70)
_ENCLOSED_BLOCKS = (0x1F130, 0x1F1AA), (0x1F1E6, 0x1F200)
# "LATIN SMALL LETTER T WITH STROKE", "LATIN LETTER SMALL CAPITAL T", "NEGATIVE SQUARED LATIN CAPITAL LETTER T" ...
_LATIN_NAME = re.compile(
    r"(?:.*LATIN|MODIFIER|REGIONAL INDICATOR SYMBOL)(?: SMALL| CAPITAL| LETTER| OPEN| REVERSED| TURNED| SCRIPT| DOTLESS"
    r"| INSULAR| BARRED| INVERTED| SIDEWAYS)* ([A-Z])(?: WITH .*| BAR| ROTUNDA)?"
)
# Fillers and blanks that Unicode calls letters or symbols, although nothing is to be seen of them.
_BLANK_LETTERS = (0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800)
_VOICING = (0x3099, 0x309A)  # part of kana letters: without it "child" is "also that"
# Decomposed, "17½" would begin with 171.
_FRACTIONS = frozenset((0xBC, 0xBD, 0xBE, *range(0x2150, 0x2160), 0x2189))
_LAST_WITH_MARKS = 0x20000
_TAGS = range(0xE0000, 0xE01F0)


def _letters() -> dict[int, str]:
    found = {ord(other): latin for latin, others in OTHER_SCRIPTS.items() for other in others}
    for start, stop in (*_LATIN_BLOCKS, *_ENCLOSED_BLOCKS):
        for point in range(start, stop):
            name = _LATIN_NAME.fullmatch(unicodedata.name(chr(point), ""))
            if name and not unicodedata.decomposition(chr(point)).startswith("<"):
                found.setdefault(point, name[1].lower())
    return found


def _unseen() -> dict[int, str | None]:
    """What takes no room: marks, joiners, directions, fillers. What parts words becomes a blank."""
    found: dict[int, str | None] = dict.fromkeys((*_BLANK_LETTERS, *_TAGS))
    for point in range(_LAST_WITH_MARKS):
        category = unicodedata.category(chr(point))
        if category in ("Mn", "Me", "Cf") and point not in _VOICING:
            found[point] = None
        elif category == "Cc" or point in _FRACTIONS:
            found[point] = " "
        elif len(whole := unicodedata.normalize("NFKD", chr(point))) > 3:
            # Whole phrases in one character would let a text grow eighteenfold; "(14)" in one is still a number.
            letters = "".join(filter(str.isalnum, whole))
            found[point] = letters if len(letters) < 3 else " "
    return found


def _digits() -> dict[int, str]:
    points = (point for point in range(0x80, _LAST_WITH_MARKS) if chr(point).isdecimal())
    return {point: str(unicodedata.decimal(chr(point))) for point in points}


UNSEEN = _unseen()
LETTERS: dict[int, str] = _letters() | _digits()
