"""What a model reads of a text once its weights are applied: "(te:1.0)en" is one word to it, "x(te:1.1)x" three.

Weights can part a word, join two, or take one back, in more ways than a filter of words knows. So a text that has any
is judged together with what becomes of it, whether or not compel is on: only image jobs, whose texts are short, have
them.
"""

from shared.prompt_weights import Unreadable, read

# Marks with which a text could pretend to be no part of what is taken back.
_MARKS = str.maketrans("():", "   ")


def with_weights_applied(text: str) -> str:
    """The text, and on lines of their own its pieces as one text, its pieces as words, and what counts less than it
    would, marked as such. Never raises.

    A text whose weights cannot be read is no text of a job that has them: it is returned as it is.
    """
    try:
        pieces = read(text)
    except Unreadable:
        return text
    joined = "".join(piece.text for piece in pieces)
    if joined == text:
        return text
    words = " ".join(piece.text for piece in pieces)
    less = [piece.text.translate(_MARKS) for piece in pieces if piece.weight < 1]
    taken_back = [f"({' '.join(less)})0.1", f"({''.join(less)})0.1"] if less else []
    return "\n".join([text, joined, words, *taken_back])
