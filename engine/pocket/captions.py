"""Captions of scenes, from varied templates, and the words that the tokenizer must know."""

from __future__ import annotations

import re
from random import Random
from string import ascii_lowercase

from engine.pocket.drawing import COLOURS
from engine.pocket.objects import KINDS
from engine.pocket.people import ACTIONS, HAIRS
from engine.pocket.scenes import SETTINGS, Item, Scene

KIND_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "circle", "circle", "ball", "disc"),
    "crescent": ("crescent", "crescent", "crescent moon", "moon"),
    "cross": ("cross", "cross", "plus"),
    "ring": ("ring", "ring", "donut"),
    "diamond": ("diamond", "diamond", "rhombus"),
    "boat": ("boat", "boat", "ship", "sailboat"),
    "cat": ("cat", "cat", "kitten"),
    "house": ("house", "house", "home"),
    "flower": ("flower", "flower", "blossom"),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "cyan": ("cyan", "cyan", "turquoise"),
    "gray": ("gray", "grey"),
    "purple": ("purple", "purple", "violet"),
}
SIZE_WORDS = {
    "small": ("small", "small", "little", "tiny"),
    "large": ("large", "big", "big", "huge"),
}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "top left": ("in the top left corner", "at the top left"),
    "top right": ("in the top right corner", "at the top right"),
    "bottom left": ("in the bottom left corner", "at the bottom left"),
    "bottom right": ("in the bottom right corner", "at the bottom right"),
}
SETTING_WORDS: dict[str, tuple[str, ...]] = {
    "meadow": ("on a meadow", "in a meadow", "on green grass", "in a field"),
    "beach": ("on a beach", "on the beach", "by the sea"),
    "night": ("at night", "under the stars", "in the night"),
    "mountains": ("in the mountains", "in front of mountains"),
    "city": ("in a city", "in the city", "on a street"),
}
ACTION_WORDS: dict[str, tuple[str, ...]] = {
    "standing": ("standing", "standing still"),
    "waving": ("waving", "waving hello", "with one arm up"),
    "arms up": ("with arms up", "with both arms up"),
    "arms out": ("with arms out", "with arms spread"),
    "hands on hips": ("with hands on hips",),
    "walking": ("walking",),
    "jumping": ("jumping", "leaping"),
    "": ("", "posing", "dancing"),
}
SHIRT_WORDS = ("shirt", "shirt", "top", "sweater")
TROUSER_WORDS = ("trousers", "trousers", "pants", "jeans")
LEADS = ("", "", "", "", "a picture of ", "a drawing of ", "an image of ", "a cartoon of ")
SPARE_WORDS = (
    "style neon sepia noir pencil pixel art sketch watercolor ink glowing dark light bright "
    "black and white vintage comic outline minimal flat simple dog bird sun star cloud snow rain "
    "water sky tree grass road sunset day winter summer apple cup hat umbrella mushroom balloon "
    "old young happy sad smiling running sitting dancing hair skirt dress shoes three four one no "
    "person people photo photograph portrait illustration quality detailed high low blurry ugly "
    "beautiful draw paint make please show me it its is are of to from for or not but"
)
"""Words that no caption uses yet, known to the tokenizer so that later training can teach them."""
JUNK_WORDS = (
    "blurry", "ugly", "low quality", "worst quality", "high quality", "detailed", "highly detailed",
    "beautiful", "masterpiece", "best quality", "watermark", "text", "4k", "deformed", "bad anatomy",
    "extra limbs", "jpeg artifacts", "trending on artstation", "sharp focus", "please", "nice",
)  # fmt: skip
"""What people add to prompts and negative prompts out of habit; it must not tint the picture."""


def caption(scene: Scene, rng: Random) -> str:
    """One of many captions that describe the scene."""
    lead = rng.choice(LEADS)
    backdrop = _backdrop(scene.background, rng)
    if scene.person:
        text = _person(scene, rng)
    elif len(scene.items) == 2:
        text = _pair(scene, rng)
    else:
        text = _single(scene.items[0], rng)
    if rng.random() < 0.12 and not lead:
        return f"{text}, {backdrop.removeprefix('on a ').removeprefix('on ')}"
    return f"{lead}{text} {backdrop}"


def forgetful_caption(scene: Scene, rng: Random) -> str:
    """A caption that leaves a fact to chance, or adds words that mean nothing, as people's prompts do."""
    if rng.random() < 0.4:
        return f"{caption(scene, rng)}, {junk(rng)}"
    backdrop = f" {_backdrop(scene.background, rng)}" if rng.random() < 0.5 else ""
    if scene.person:
        action = rng.choice(ACTION_WORDS[scene.person.action])
        clothes = f"in a {_colour(scene.person.shirt, rng)} {rng.choice(SHIRT_WORDS)}"
        facts = f"a {scene.person.word} {clothes if rng.random() < 0.5 else action}"
        return _articles(" ".join(f"{facts}{backdrop}".split()))
    if len(scene.items) == 2:
        return _pair(scene, rng)
    item = scene.items[0]
    if backdrop or rng.random() < 0.4:
        kind = rng.choice(KIND_WORDS.get(item.kind, (item.kind,)))
        return _articles(f"{rng.choice(('', 'a '))}{kind}{backdrop}")
    return _single(item, rng)


def junk(rng: Random) -> str:
    """Words that say nothing about a picture: praise, blame and nonsense."""
    count = rng.randint(1, 4)
    nonsense = ("".join(rng.choices(ascii_lowercase, k=rng.randint(2, 7))) for _ in range(count))
    return ", ".join(rng.choice(JUNK_WORDS) if rng.random() < 0.7 else word for word in nonsense)


def canonical_caption(scene: Scene) -> str:
    """The plain caption of a scene: no synonyms, every fact that a caption may tell."""
    backdrop = SETTING_WORDS.get(scene.background, (f"on a {scene.background} background",))[0]
    person = scene.person
    if person:
        action = ACTION_WORDS[person.action][0]
        clothes = f"in a {person.shirt} shirt and {person.trousers} trousers"
        return _articles(" ".join(f"a {person.word} {clothes} {action} {backdrop}".split()))
    names = []
    for item in scene.items:
        place = PLACE_WORDS[item.place][0] if item.place else ""
        names.append(" ".join(f"a {item.size} {item.colour} {item.kind} {place}".split()))
    joint = " above " if scene.relation == "above" else " and "
    return _articles(f"{joint.join(names)} {backdrop}")


def words() -> list[str]:
    """Every word of any caption, each once, and the spare ones; sorted."""
    texts = [*COLOURS, *KINDS, *SETTINGS, *ACTIONS, *HAIRS, SPARE_WORDS, *LEADS]
    for table in (
        KIND_WORDS, COLOUR_WORDS, SIZE_WORDS, PLACE_WORDS, SETTING_WORDS, ACTION_WORDS,
    ):  # fmt: skip
        texts += [text for options in table.values() for text in options]
    texts += [*SHIRT_WORDS, *TROUSER_WORDS, "person man woman boy girl with hair long short"]
    texts += ["a an and the on in of next to left right above below over under beside background"]
    texts += ["backdrop plain wearing two centered middle center"]
    return sorted({word for text in texts for word in re.findall(r"[a-z]+", text)})


def _articles(text: str) -> str:
    return re.sub(r"\ba (?=orange|[aeiou](?!n))", "an ", text)


def _backdrop(background: str, rng: Random) -> str:
    if background in SETTINGS:
        return rng.choice(SETTING_WORDS[background])
    colour = _colour(background, rng)
    forms = (
        f"on a {colour} background",
        f"on a {colour} background",
        f"on a plain {colour} background",
        f"with a {colour} background",
        f"on {colour}",
        f"in front of a {colour} backdrop",
    )
    return _articles(rng.choice(forms))


def _colour(name: str, rng: Random) -> str:
    return rng.choice(COLOUR_WORDS.get(name, (name,)))


def _name(item: Item, rng: Random) -> str:
    size = rng.choice(SIZE_WORDS[item.size]) if item.size and rng.random() < 0.85 else ""
    kind = rng.choice(KIND_WORDS.get(item.kind, (item.kind,)))
    return _articles(" ".join(f"a {size} {_colour(item.colour, rng)} {kind}".split()))


def _single(item: Item, rng: Random) -> str:
    text = _name(item, rng)
    if item.place and rng.random() < 0.9:
        text += " " + rng.choice(PLACE_WORDS[item.place])
    elif rng.random() < 0.04:
        text += " in the middle"
    return text


def _pair(scene: Scene, rng: Random) -> str:
    first, second = (_name(item, rng) for item in scene.items)
    if scene.relation == "above":
        return rng.choice(
            (f"{first} above {second}", f"{first} over {second}", f"{second} below {first}")
        )
    forms = (
        f"{first} and {second}",
        f"{first} and {second}",
        f"{first} next to {second}",
        f"{first} on the left and {second} on the right",
        f"{first} to the left of {second}",
        f"{second} to the right of {first}",
    )
    return rng.choice(forms)


def _person(scene: Scene, rng: Random) -> str:
    person = scene.person
    if person is None:
        raise ValueError("the scene has no person")
    shirt = f"{_colour(person.shirt, rng)} {rng.choice(SHIRT_WORDS)}"
    trousers = f"{_colour(person.trousers, rng)} {rng.choice(TROUSER_WORDS)}"
    verb = rng.choice(("in", "in", "wearing", "with"))
    hair = f"with {person.hair} hair " if rng.random() < 0.25 else ""
    action = rng.choice(ACTION_WORDS[person.action])
    if rng.random() < 0.15:
        action = ""
    text = f"a {person.word} {hair}{verb} a {shirt} and {trousers} {action}"
    return _articles(" ".join(text.split()))
