"""How prompts become words that can be searched, and what people type becomes a search of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

NO_STYLE = "none"  # as the index has it
_HASH = 64  # hex digits of a sha256
_MAX_WORDS = 20
# Scripts that are written without spaces: every character is a word of its own there, and a typed
# word of several characters is a phrase.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff])"
)


def search_text(text: str) -> str:
    """Returns the text as it is indexed: compatible forms made one, unspaced scripts spaced.

    Case and accents are folded by the index itself.
    """
    return _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text))


def match_expression(
    typed: str, owner_id: int | None, *, styles: Sequence[str] = (), is_prefix: bool = False
) -> str | None:
    """Returns the FTS5 expression for all typed words; None when nothing typed is a word.

    Args:
        typed: What a person typed; it is data, never syntax. "" for any prompt.
        owner_id: Only this person's pictures; None for everybody's.
        styles: Only pictures with one of them, see `storage.gallery.Wanted`; () for any.
        is_prefix: The last word may be the beginning of one.
    """
    parts = []
    if owner_id is not None:
        parts.append(f'owner : "{owner_id}"')
    if styles:
        parts.append(f"style : ({' OR '.join(map(_style, styles))})")
    if typed.strip():
        phrases = [_phrase(word) for word in typed.split()[:_MAX_WORDS] if _has_letter(word)]
        if not phrases:
            return None
        if is_prefix:
            phrases[-1] += " *"
        parts.append(f"prompt : ({' AND '.join(phrases)})")
    return " AND ".join(parts)


def _style(name: str) -> str:
    # The beginning of a hash reads the pictures of all styles that begin so: only where needed.
    return _phrase(name) if name == NO_STYLE or len(name) == _HASH else f"{_phrase(name)} *"


def _phrase(word: str) -> str:
    return '"' + " ".join(search_text(word).replace('"', " ").split()) + '"'


def _has_letter(word: str) -> bool:
    return any(character.isalnum() for character in unicodedata.normalize("NFKC", word))
