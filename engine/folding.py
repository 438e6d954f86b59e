"""What is left of a text when it does not matter how it was written: letters, and where words may end.

`fold` takes away what a reader does not see or look at: width, case, accents, invisible characters. A letter
keeps every reading that it has: the Cyrillic "о" in a word with Latin letters is also a Latin "o", but in an
honest Cyrillic word it is only itself. Between two letters stands whether a word can begin there.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import groupby, pairwise

_LATIN, _GREEK, _CYRILLIC, _ARMENIAN = "latin", "greek", "cyrillic", "armenian"
_DIGIT, _OTHER = "digit", "other"
_HAN, _HIRAGANA, _KATAKANA, _UNSPACED = "han", "hiragana", "katakana", "unspaced"
_ALONE = (_HAN, _UNSPACED)  # written without spaces: a word may begin at each of their letters
_ALIKE = (_LATIN, _GREEK, _CYRILLIC, _ARMENIAN)  # with letters that look like those of the others

_BLOCKS = (  # first code point and script
    *((0x0000, _LATIN), (0x0370, _GREEK), (0x0400, _CYRILLIC), (0x0530, _ARMENIAN)),
    *(
        (0x0590, _OTHER),
        (0x0E00, _UNSPACED),
        (0x0F00, _OTHER),
        (0x1000, _UNSPACED),
    ),  # Thai, Myanmar
    *((0x10A0, _OTHER), (0x1780, _UNSPACED), (0x1800, _OTHER), (0x1C80, _CYRILLIC)),  # Khmer
    *((0x1C90, _OTHER), (0x1D00, _LATIN), (0x1F00, _GREEK), (0x2000, _OTHER)),
    *((0x2C60, _LATIN), (0x2C80, _OTHER), (0x2DE0, _CYRILLIC), (0x2E00, _OTHER), (0x3005, _HAN)),
    *((0x3008, _OTHER), (0x3041, _HIRAGANA), (0x30A0, _KATAKANA), (0x3100, _OTHER)),
    *((0x31F0, _KATAKANA), (0x3200, _OTHER), (0x3400, _HAN), (0xA000, _OTHER)),
    *((0xA640, _CYRILLIC), (0xA6A0, _OTHER), (0xA720, _LATIN), (0xA800, _OTHER)),
    *((0xAB30, _LATIN), (0xAB70, _OTHER), (0xF900, _HAN), (0xFB00, _OTHER), (0x20000, _HAN)),
)
_STARTS = [start for start, _ in _BLOCKS]


def _table(pairs: str) -> dict[str, str]:
    """Returns each pair's first letter with its readings, which stand behind it."""
    return {pair[0]: pair[1:] for pair in pairs.split()}


# Letters that look like Latin ones wherever they stand: a word of nothing else may be a disguise.
_SAME_LOOK = _table(
    "аa вb гr еe кk мm нh оo рp сcs тt уyu хx ѕs іi їi јj һh ԁd ԛq ԝw ӏl ѵv үy өo ԍg "
    "αa βb εe ζz ηnh ιi κk μum νvn οo ρp τt υuy χx ωw ϳj "
    "ոn սu օo հh ցg զq յj"
)
# Letters that do so only between Latin ones; in a word of their own script they are what they are.
_SIMILAR = _table("бb иu йu зe лn пn чh шw ьb эe яr ғf ђh ћh γy δd θo λa πn σoc φo ψw")
_PLAIN = {  # Latin letters of other shapes, which Unicode does not take apart
    **_table("ıi ɑa ɡg ɩi ɪi ʟl ɴn ʀr ʏy ʙb ɢg ʜh ɫl łl øo đd ħh ŧt ƒf ɓb ɗd ɛe ɔo ʋv"),
    **_table("ᴀa ᴄc ᴅd ᴇe ꜰf ᴊj ᴋk ᴍm ᴏo ᴘp ꞯq ꜱs ᴛt ᴜu ᴠv ᴡw ᴢz"),
    **{chr(first + n): chr(97 + n) for first in (0x1F150, 0x1F170) for n in range(26)},  # on black
}
_LEET = _table("0o 1il 3e 4a 5s 7t")

_INVISIBLE = (  # default-ignorable code points beside those of the category Cf
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF)),
)
_ACCENTS = (  # marks that can be left out; others, such as India's vowels, make another letter
    *((0x0300, 0x034E), (0x0350, 0x036F), (0x0483, 0x0489), (0x0591, 0x05BD), (0x05BF, 0x05C7)),
    *((0x0610, 0x061A), (0x0640, 0x0640), (0x064B, 0x065F), (0x0670, 0x0670), (0x06D6, 0x06DC)),
    *((0x06DF, 0x06E8), (0x06EA, 0x06ED), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF)),
    *((0x20D0, 0x20FF), (0xFE20, 0xFE2F)),
)
_JOINERS = "\u200c\u200d"
_KEPT = "й"  # no accented "и", but a letter of its own
_UNSEEN = "\0"  # stands for something invisible
_THIN_SPACES = dict.fromkeys((*range(0x2004, 0x200B), 0x202F, 0x205F, 0x2800), "\u00b7")
_LOOSE = ",;:!?/|\u3001\u3002"  # what stands beside them are two words, as with a space
_FLAG_LETTERS = re.compile("[\U0001f1e6-\U0001f1ff]+")
_SPELLED = 3  # letters in a row that stand alone


class Gap(IntEnum):
    """What is between a letter and the one before it."""

    NONE = 0  # both are in the same word
    TIGHT = 1  # one word or two: there is a hyphen or something invisible, or another script begins
    WIDE = 2  # two words


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text.

    Attributes:
        letters: Of each letter or digit what it can be read as, first what it is.
        gaps: What is before each letter; one more for what follows the last.
        is_spelled: Of each letter whether it is one of several in a row that stand alone ("n u d e").
        visible: Letters and signs in their order, without width, case, accents and what is invisible.
    """

    letters: tuple[str, ...]
    gaps: tuple[Gap, ...]
    is_spelled: tuple[bool, ...]
    visible: str


def fold(text: str) -> Folded:
    """Returns the letters of a text; the time grows as the text does."""
    letters: list[str] = []
    gaps: list[Gap] = []
    visible: list[str] = []
    gap, script_before = Gap.WIDE, ""
    for char in _characters(text):
        if char == _UNSEEN:
            gap = max(gap, Gap.TIGHT)
            continue
        visible.append(char)
        script = _script(char)
        if not script:
            is_wide = char.isspace() or char in _LOOSE
            gap = max(gap, Gap.WIDE if is_wide else Gap.TIGHT)
            continue
        if gap is Gap.NONE and (script != script_before or script in _ALONE):
            may_be_disguise = script in _ALIKE and script_before in _ALIKE
            gap = Gap.NONE if may_be_disguise else Gap.TIGHT
        letters.append(char)
        gaps.append(gap)
        gap, script_before = Gap.NONE, script
    gaps.append(Gap.WIDE)
    is_spelled = _spelled(gaps)
    joined = [  # what is spelled out is one word, whose letters may be of several alphabets
        Gap.NONE if 0 < place < len(letters) and all(is_spelled[place - 1 : place + 1]) else gap
        for place, gap in enumerate(gaps)
    ]
    readings = tuple(_readings(letters, joined))
    return Folded(readings, tuple(gaps), is_spelled, "".join(visible).strip())


def _characters(text: str) -> Iterator[str]:
    """Yields the characters without accents, `_UNSEEN` where something invisible stood."""
    text = _FLAG_LETTERS.sub(_without_flags, text.translate(_THIN_SPACES))
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    before = ""
    for char in text:
        if char in _JOINERS and "\u0600" <= before < "\u0e00":
            continue  # a part of how Persian and the languages of India are written
        folded = _folded(char)
        yield from folded
        before = folded[-1:] or before


def _without_flags(found: re.Match[str]) -> str:
    """Returns the letters that flags are made of, as people spell with them; nothing of one flag."""
    letters = found[0]
    if len(letters) == 2:
        return " "
    return "".join(chr(ord(one) - 0x1F1E6 + ord("a")) for one in letters)


@lru_cache(maxsize=8192)
def _folded(char: str) -> str:
    if _is_in(char, _INVISIBLE) or unicodedata.category(char) == "Cf":
        return _UNSEEN
    if char == _KEPT:
        return char
    parts = [one for one in unicodedata.normalize("NFD", char) if not _is_in(one, _ACCENTS)]
    plain = unicodedata.normalize("NFC", "".join(parts))
    return "".join(_PLAIN.get(one, one) for one in plain)


@lru_cache(maxsize=8192)
def _script(char: str) -> str:
    """Returns the script of a letter or digit, "" for anything else."""
    category = unicodedata.category(char)
    if category[0] == "N":
        return _DIGIT
    if category[0] not in "LM":
        return ""
    return _BLOCKS[bisect_right(_STARTS, ord(char)) - 1][1]


def _is_in(char: str, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= ord(char) <= last for first, last in ranges)


def _readings(letters: Sequence[str], gaps: Sequence[Gap]) -> Iterator[str]:
    """Yields what each letter can be read as, word by word."""
    words = _words(letters, gaps)
    scripts = [{_script(one) for one in word} for word in words]
    is_honest = _honest_words(words, scripts)
    for number, (word, among) in enumerate(zip(words, scripts, strict=True)):
        if among == {_DIGIT}:
            beside = scripts[max(number - 1, 0)] | scripts[min(number + 1, len(words) - 1)]
            is_leet = _LATIN in beside
            yield from (one + _LEET.get(one, "") if is_leet else one for one in word)
        elif is_honest[number]:
            yield from word
        else:
            yield from (one + _disguises(one, frozenset(among)) for one in word)


def _words(letters: Sequence[str], gaps: Sequence[Gap]) -> list[str]:
    starts = [place for place, gap in enumerate(gaps) if gap is not Gap.NONE]
    return ["".join(letters[start:end]) for start, end in pairwise(starts)]


def _honest_words(words: Sequence[str], scripts: Sequence[set[str]]) -> list[bool]:
    """Returns of each word whether its letters are only what they are.

    Words of nothing but look-alikes are so beside others of their script: "рот" is Russian in "открытый
    рот", and may be the English word in an English sentence.
    """
    honest: list[bool] = []
    for among, group in groupby(zip(words, scripts, strict=True), key=lambda pair: pair[1]):
        members = [word for word, _ in group]
        if len(among) > 1:
            honest += [False] * len(members)
        else:
            is_like_latin = bool(among & set(_ALIKE)) and among != {_LATIN}
            shows_itself = any(one not in _SAME_LOOK for word in members for one in word)
            honest += [shows_itself or not is_like_latin] * len(members)
    return honest


@lru_cache(maxsize=8192)
def _disguises(letter: str, among: frozenset[str]) -> str:
    """Returns what else a letter can be in a word of these scripts."""
    if _script(letter) != _LATIN:
        return _SAME_LOOK.get(letter, "") + _SIMILAR.get(letter, "")
    return "".join(
        other
        for other, readings in _SAME_LOOK.items()
        if letter in readings and _script(other) in among
    )


def _spelled(gaps: Sequence[Gap]) -> tuple[bool, ...]:
    wide = [place for place, gap in enumerate(gaps) if gap is Gap.WIDE]
    sizes = [end - start for start, end in pairwise(wide)]
    found: list[bool] = []
    for is_single, group in groupby(sizes, key=lambda size: size == 1):
        members = list(group)
        is_spelling = is_single and len(members) >= _SPELLED
        found += [is_spelling] * sum(members)
    return tuple(found)
