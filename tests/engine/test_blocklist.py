"""Blocked words are found however they are written, and honest texts in any script are left alone."""

from __future__ import annotations

import random
import string

import pytest

from engine.blocklist import MAX_LENGTH, Matcher, Pattern
from engine.errors import InvalidRequestError
from engine.folding import fold

LIST = (
    *("nude", "naked child", "porn*", "sex", "pot", "cop", "hoe", "rat", "cocaine", "co-op", "ass"),
    *("хуй", "голая", "мой", "γυμνή", "عاري", "ヌード", "裸体", "ばか", "누드", "नंगा", "🍆"),
)
DISGUISED = [
    # plainly
    *("nude", "A NUDE woman", "nude.", "(nude:1.3)", '"nude"', "nude123", "1nude", "pornography"),
    *("the naked child", "Naked   Child", "naked, child", "eat 🍆 now", "голая", "МОЙ", "γυμνη"),
    # width, style and shape of the letters
    *(
        "ｎｕｄｅ",
        "ＮＵＤＥ",
        "𝓷𝓾𝓭𝓮",
        "𝐍𝐔𝐃𝐄",
        "ⓝⓤⓓⓔ",
        "🅝🅤🅓🅔",
        "🅽🆄🅳🅴",
        "ɴᴜᴅᴇ",
        "ᴺᵁᴰᴱ",
        "🇳🇺🇩🇪",
        "ﾇｰﾄﾞ",
    ),
    # accents, one upon the other
    *("nüdé", "n̶u̶d̶e̶", "ñ̷̛u̴͝d̵̈́e̶̋", "ṅüḓë"),
    # invisible characters
    *(
        "n\u200bu\u200bd\u200be",
        "nu\u00adde",
        "n\u2060ude",
        "nu\ufeffde",
        "nu\u034fde",
        "n\U000e0061ude",
    ),
    *(
        "nude\u200bwoman",
        "naked\u200bchild",
        "nu\u3164de",
        "nu\u2009de",
        "nu\u2800de",
        "nu\u202ede",
    ),
    # signs and spaces between the letters
    *(
        "n u d e",
        "n.u.d.e",
        "n-u-d-e",
        "n_u_d_e",
        "n*u*d*e",
        "(n)(u)(d)(e)",
        "n, u, d, e",
        "n🍑u🍑d🍑e",
    ),
    *(
        "very n u d e woman",
        "co op",
        "nu-de",
        "n.ude",
        "nude_woman",
        "n a k e d c h i l d",
        "n / u / d / e",
    ),
    # letters of other alphabets
    *("nudе", "ոսԁе", "nυde", "sеx", "ѕех", "сосаіnе", "cocаine", "a рот plant", "рot", "рσt"),
    *("xуй", "хyй", "x y й", "гoлая", "голaя", "p0rn", "s3x", "p0t"),
    # scripts without spaces
    *("美しい裸体画", "一个裸体女人", "ヌード写真", "芸術ヌード", "عَارِي", "عـــاري"),
]
HONEST = [
    "a red circle on a blue background, 8k, masterpiece, (best quality:1.2)",
    "denude, prenudes, Essex and Sussex, a middlesex pub, assassin in a classroom, bass guitar",
    "the rapist's therapist, popcorn pots and coproduction, robocops, shoes, rating, a child naked tree",
    "sun,de,lune; nu de femme; n, u", "1girl, solo, looking at viewer, f/1.8, 85mm, iso 100",
    "Ein schöner Süßwarenladen in Köln, große Bäume, weiße Wäsche", "l'été à la plage, garçon, œuvre",
    "красивый закат над морем, мост, туман", "открытый рот, нос и уши", "рот, нос, уши, подбородок",
    "сок из яблок в стакане", "тор и хор в соборе", "мои любимые места", "корова на мосту у реки",
    "портрет старой женщины, масло, холст", "гарний захід сонця, їжак у траві", "зимна вечер, София",
    "Πορτρέτο μιας γυναίκας δίπλα στη θάλασσα", "το ρολόι του πατέρα", "ένα μικρό χωριό στα βουνά",
    "غروب جميل فوق البحر", "امرأة عجوز تقرأ كتابا", "هیچ‌کس در باغ نیست", "شب و کوه‌ها",
    "שקיעה יפה מעל הים", "सुंदर सूर्यास्त समुद्र के ऊपर", "นักเรียนอ่านหนังสือในสวน", "아름다운 바다 위의 노을",
    "美しい夕焼けと海", "はかまを着た侍", "ばかりでなく", "カップヌードル", "桜の下で本を読む少女", "一只在雨中的猫",
    "🇺🇸 🇩🇪 flags, 👩🏽‍🚀 on the moon 🌕, ❤️ and 🏳️‍🌈", "👨‍👩‍👧‍👦 family at the 🏖️", "¡Olé! ¿Qué pasa?",
    "H₂O, E=mc², α-Helix, β-carotene, Ω, 5 μm, π ≈ 3.14", "Łódź, Đà Nẵng, İstanbul, Reykjavík",
    "a. b. c. and 1, 2, 3", "C++, C#, .NET", "Հայաստան, լեռներ", "საქართველო მთები",
]  # fmt: skip


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(map(Pattern.parse, LIST))


@pytest.mark.parametrize("text", DISGUISED)
def test_blocked_word_is_found(matcher: Matcher, text: str) -> None:
    assert matcher.finds(fold(text))
    assert matcher.finds(fold(f"a picture of {text} in a garden"))


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_passes(matcher: Matcher, text: str) -> None:
    assert not matcher.finds(fold(text))


@pytest.mark.parametrize("word", LIST)
def test_every_word_finds_itself_in_any_case_and_width(word: str) -> None:
    matcher = Matcher([Pattern.parse(word)])
    bare = word.rstrip("*")
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in bare)
    for text in (bare, bare.upper(), bare.title(), wide, f"x {bare}, y"):
        assert matcher.finds(fold(text)), text


def test_words_are_whole_unless_a_star_says_otherwise() -> None:
    whole, prefix = (Matcher([Pattern.parse(one)]) for one in ("cat", "cat*"))
    for text, in_whole, in_prefix in (
        ("cat", True, True),
        ("black cat's eye", True, True),
        ("cats", False, True),
        ("bobcat", False, False),
        ("c a t s", True, True),  # spelled out, nobody knows where a word ends
    ):
        assert (whole.finds(fold(text)), prefix.finds(fold(text))) == (in_whole, in_prefix), text


def test_common_words_hide_nothing_of_each_other() -> None:
    """Folding alone never makes one honest word another: each word of the corpus finds only its kin."""
    words = sorted({word for text in HONEST for word in text.replace(",", " ").split()})
    patterns = {}
    for word in words:
        try:
            patterns[word] = Pattern.parse(word)
        except InvalidRequestError:
            continue  # one letter, or too long
    folded = {text: fold(text) for text in HONEST}
    wrong = [
        (word, text)
        for word, pattern in patterns.items()
        for text, one in folded.items()
        if Matcher([pattern]).finds(one) and fold(word).visible not in one.visible
    ]
    assert wrong == []
    assert len(patterns) > 150


@pytest.mark.parametrize(
    "word", ["", "  ", "*", "a", "x*", "--", "a" * (MAX_LENGTH + 1), "\u200b", "é"]
)
def test_words_that_would_block_nearly_everything_are_refused(word: str) -> None:
    if word == "--":  # signs are found as they are
        assert Matcher([Pattern.parse(word)]).finds(fold("a -- b"))
        return
    with pytest.raises(InvalidRequestError):
        Pattern.parse(word)


def test_same_word_written_differently_is_one() -> None:
    keys = {Pattern.parse(one).key for one in ("Nude", "ｎｕｄｅ", "nüde", " nude ", "n\u200bude")}
    assert keys == {"nude"}
    assert Pattern.parse("nude*").key == "nude*"


@pytest.mark.timeout(60)  # mostly 0.03 s each; minutes where a pattern goes long ways to nowhere
def test_thousand_words_over_long_texts_come_to_an_end() -> None:
    source = random.Random(1)

    def word() -> str:
        return "".join(source.choices(string.ascii_lowercase, k=source.randint(3, 12)))

    patterns = [Pattern.parse(word()) for _ in range(990)]
    patterns += [Pattern.parse("a" * n + "b") for n in range(20, 30)]  # long ways to nowhere
    matcher = Matcher(patterns)
    texts = [
        " ".join(word() for _ in range(900))[:6000],
        "a " * 3000,
        "aа" * 3000,
        "漢" * 6000,
        "e\u0301" * 3000,
        "a\u200b" * 3000,
        "🇦" * 6000,
    ]
    for text in texts:
        matcher.finds(fold(text))
