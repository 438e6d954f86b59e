"""Measures the pocket model by picture statistics: `python -m engine.pocket.evaluate [--model DIR]`.

Every prompt is about a combination that was never trained on, drawn with the model's default steps, guidance and
sampler and with fixed seeds. What each figure means is written in the modules of `engine.pocket.scores`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from engine.pocket import CONTROLNETS_DIR, MODEL_DIR
from engine.pocket.export import contact_sheet
from engine.pocket.scores import objects, people, remix, speed
from engine.pocket.scores.examples import through_autoencoder
from engine.pocket.scores.studio import SCHEDULERS, Studio, draw, load

__all__ = ["CARD_PROMPTS", "draw", "load", "main", "markdown"]

DETECTOR_DIR = MODEL_DIR.parent / "detectors" / "pose"
STYLES_DIR = MODEL_DIR.parent / "loras"
REMIX_STRENGTHS = (0.3, 0.7)  # beside 0.5, with a quarter as many pictures

CARD_PROMPTS = (
    "a red circle on a blue background",
    "a yellow star on a purple background",
    "a green triangle on a white background",
    "a purple heart on an orange background",
    "a white ring on a red background",
    "a gray cross on a pink background",
    "a small black square on a cyan background",
    "a big orange diamond on a green background",
    "a pink crescent on a black background",
    "a red square and a blue ring on a white background",
    "a yellow circle above a green square on a black background",
    "a brown house on a cyan background",
    "a green tree on a white background",
    "a red boat on a beach",
    "a blue car in a city",
    "an orange fish on a blue background",
    "a purple flower on a meadow",
    "a black cat on a yellow background",
    "a white star at night",
    "a red house in the mountains",
    "a man in a red shirt and blue trousers on a white background",
    "a woman in a green shirt and black trousers waving on a pink background",
    "a boy in an orange shirt and brown trousers on a beach",
    "a girl in a yellow shirt and purple trousers with arms up on a meadow",
)
"""The contact sheet of the model card."""


@dataclass(frozen=True)
class StylesTotal:
    """Over all styles and the base: how often a picture's style is told rightly, and that of the base's alone."""

    pictures_of_each: int
    told_apart: float
    base_told_apart: float


class Evaluation:
    """Runs the subjects that were asked for, each with one studio, and yields their figures."""

    def __init__(self, studio: Studio, count: int, sheet: Path | None) -> None:
        """With `count` pictures of each category and a folder for contact sheets."""
        self.studio, self.count, self.sheet = studio, count, sheet
        self.model = studio.manner.model

    def subjects(self) -> dict[str, Callable[[], Iterator[Any]]]:
        """What can be measured, by the name on the command line."""
        return {
            **{name: self._objects(name) for name in objects.CATEGORIES},
            **{name.replace(" ", "-"): self._people(name) for name in people.CATEGORIES},
            "remix": self._remix,
            "pose": self._pose,
            "edges": lambda: self._layout("canny"),
            "depth": lambda: self._layout("depth"),
            "segmentation": lambda: self._layout("segmentation"),
            "detector": self._detector,
            "styles": self._styles,
            "speed": self._speed,
            "judges": self._judges,
        }

    def _objects(self, category: str) -> Callable[[], Iterator[Any]]:
        def run() -> Iterator[objects.ObjectScore]:
            yield objects.evaluate(self.studio, category, self.count, self.sheet)

        return run

    def _people(self, category: str) -> Callable[[], Iterator[Any]]:
        def run() -> Iterator[people.PeopleScore]:
            yield people.evaluate(self.studio, category, self.count, self.sheet)

        return run

    def _remix(self) -> Iterator[remix.RemixScore]:
        fewer = max(self.count // 4, 1)
        for layout in remix.LAYOUTS:
            yield from remix.evaluate(self.studio, layout, (0.5,), self.count, self.sheet)
            yield from remix.evaluate(self.studio, layout, REMIX_STRENGTHS, fewer, self.sheet)

    def _pose(self) -> Iterator[Any]:
        from engine.pocket.scores import control

        if _there(CONTROLNETS_DIR / "openpose"):
            detector = DETECTOR_DIR if DETECTOR_DIR.is_dir() else None
            yield control.measure_pose(self.studio, CONTROLNETS_DIR, self.count, detector)

    def _layout(self, kind: str) -> Iterator[Any]:
        from engine.pocket.scores import control

        measure = {
            "canny": control.measure_edges,
            "depth": control.measure_depth,
            "segmentation": control.measure_segmentation,
        }
        if _there(CONTROLNETS_DIR / kind):
            yield measure[kind](self.studio, CONTROLNETS_DIR, self.count)

    def _detector(self) -> Iterator[Any]:
        from engine.pocket.scores import pose_detector

        if _there(DETECTOR_DIR):
            yield pose_detector.measure(DETECTOR_DIR, self.count)
            yield pose_detector.measure(DETECTOR_DIR, self.count, self._through_autoencoder)

    def _styles(self) -> Iterator[Any]:
        from engine.pocket.scores import styles

        if _there(STYLES_DIR):
            report = styles.measure(self.model, STYLES_DIR, self.count)
            yield from (*report.styles, *report.mixes)
            yield StylesTotal(self.count, report.told_apart, report.base_told_apart)

    def _through_autoencoder(self, pictures: list[Image.Image]) -> list[Image.Image]:
        back: list[Image.Image] = through_autoencoder(self.model, pictures)
        return back

    def _speed(self) -> Iterator[speed.SpeedScore]:
        yield speed.evaluate(self.studio.manner)

    def _judges(self) -> Iterator[objects.JudgeScore]:
        yield from objects.judge_scores(self.count, self.model)
        yield from people.judge_scores(self.count, self.model)


def _there(folder: Path) -> bool:
    """Whether a part of the model has been trained; says so where not."""
    if not folder.is_dir():
        print(f"skipped: there is no folder {folder.name} in {folder.parent.name}", file=sys.stderr)
    return folder.is_dir()


def markdown(scores: Sequence[Any]) -> str:
    """Tables for a model card, one for each kind of figures, in the order in which they came."""
    kinds = dict.fromkeys(type(score) for score in scores)
    return "\n\n".join(_table([s for s in scores if type(s) is kind]) for kind in kinds) + "\n"


def _table(scores: Sequence[Any]) -> str:
    rows = [{k: v for k, v in asdict(s).items() if k != "weak"} for s in scores]
    heads = [name.replace("_", " ") for name in rows[0]]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(_cell(k, v) for k, v in row.items())} |" for row in rows]
    return "\n".join(lines)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple | list):
        return ", ".join(_cell(name, each) for each in value)
    if not isinstance(value, float):
        return str(value)
    if re.search("overlap|iou|strength|seconds|error|load|moved|share|alone", name):
        return f"{value:.2f}"
    return f"{100 * value:.1f} %"


def _plain(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints the figures, one line of JSON for each set of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_DIR)
    parser.add_argument("--count", type=int, default=200, help="pictures of each category")
    parser.add_argument("--categories", nargs="+", help="only these subjects (default: all)")
    parser.add_argument("--processes", type=int, default=2, help="that draw, one thread each")
    parser.add_argument("--sampler", choices=SCHEDULERS, help="default: the model's own")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--card", type=Path, help="only draw the model card's contact sheet")
    parser.add_argument("--sheet", type=Path, help="folder for contact sheets")
    parser.add_argument("--markdown", type=Path, help="also write tables to this file")
    given = parser.parse_args(arguments)
    if given.card:
        torch.set_num_threads(1)
        pipe, settings = load(given.model, given.sampler)
        steps = given.steps or int(settings["default_steps"])
        contact_sheet(pipe, CARD_PROMPTS, steps=steps, columns=6).save(given.card, quality=85)
        return
    scores = []
    with Studio(
        given.model,
        processes=given.processes,
        sampler=given.sampler,
        steps=given.steps,
        guidance=given.guidance,
    ) as studio:
        subjects = Evaluation(studio, given.count, given.sheet).subjects()
        unknown = [name for name in given.categories or () if name not in subjects]
        if unknown:
            parser.error(f"no subject {', '.join(unknown)}: choose from {', '.join(subjects)}")
        torch.set_num_threads(1)
        for name in given.categories or subjects:
            for score in subjects[name]():
                scores.append(score)
                figures = {k: _plain(v) for k, v in asdict(score).items()}
                print(json.dumps({"subject": name} | figures), flush=True)
    if given.markdown:
        given.markdown.write_text(markdown(scores))


if __name__ == "__main__":
    main()
