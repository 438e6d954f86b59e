"""Sentences for people that can be said in another language later.

Whoever refuses something does it in English, by a template and its values. The borders (`cogs/_language.py`)
look the template up in the catalogue of the reader's language and put the values in again.
"""

from __future__ import annotations


class Words(str):
    """English words of ours, which stand in the catalogues.

    As a value of a sentence they are translated with it; any other text in it is as somebody typed it.
    """

    __slots__ = ()


def N_(text: str) -> Words:
    """Marks words that are translated where they are used; `make messages` finds them by this."""
    return Words(text)
