"""What a model reads of a text once its weights are applied: "(te:1.0)en" is one word to it.

Weights can part a word, or take one back, in more ways than a filter of words knows. So a text that has any is judged
together with what becomes of it, whether or not compel is on: only image jobs, whose texts are short, can have them.
"""

from shared.prompt_weights import Unreadable, read

_NO_PARENTHESES = str.maketrans("()", "  ")


def with_weights_applied(text: str) -> str:
    """The text, followed by itself without marks and by all that counts less than it would. Never raises.

    A text whose weights cannot be read is no text of a job that has them: it is returned as it is.
    """
    try:
        pieces = read(text)
    except Unreadable:
        return text
    whole = "".join(piece.text for piece in pieces)
    taken_back = [f"({piece.text.translate(_NO_PARENTHESES)})0.1" for piece in pieces if piece.weight < 1]
    return text if whole == text else "\n".join([text, whole, *taken_back])
