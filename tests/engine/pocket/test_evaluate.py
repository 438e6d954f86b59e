"""The evaluation runs from end to end, here on a model that draws noise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
from engine.pocket.evaluate import main, markdown
from engine.pocket.scores.objects import ObjectScore
from engine.pocket.scores.speed import measure
from engine.pocket.scores.studio import Manner, Order, Studio

pytestmark = pytest.mark.filterwarnings(  # in diffusers
    "ignore:__array__ implementation:DeprecationWarning"
)


def test_every_subject_gives_figures_sheets_and_tables(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subjects = ["plain", "setting", "pair", "person", "remix", "judges"]
    main([
        "--model", str(tiny_model), "--count", "2", "--processes", "1", "--steps", "4",
        "--sheet", str(tmp_path / "sheets"), "--markdown", str(tmp_path / "card.md"),
        "--categories", *subjects,
    ])  # fmt: skip
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(dict.fromkeys(line["subject"] for line in lines)) == subjects
    noise = next(line for line in lines if line["subject"] == "pair")
    assert noise["pictures"] == 2
    assert noise["all_right"] == 0
    judged = [line for line in lines if line["subject"] == "judges"]
    assert all(line["all_right"] >= 0.5 for line in judged if line["source"] == "renderer")
    tables = (tmp_path / "card.md").read_text()
    assert tables.count("\n|---|") == 4
    names = {path.name for path in (tmp_path / "sheets").iterdir()}
    assert {"plain.png", "person.png", "remix-single-0.5.png"} <= names


def test_unknown_subject_is_named(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--model", str(tiny_model), "--processes", "1", "--categories", "nonsense"])
    assert "no subject nonsense: choose from plain" in capsys.readouterr().err


def test_pictures_come_in_the_order_of_their_orders_and_by_their_seeds(tiny_model: Path) -> None:
    with Studio(tiny_model, steps=1) as studio:
        source = studio.draw([Order("a star", 5)])[0]
        orders = [Order("a star", 7), Order("a star", 5, source, 1.0), Order("a star", 5)]
        pictures = studio.draw(orders)
        again = studio.draw(list(reversed(orders)))
    assert pictures[2].tobytes() == source.tobytes()
    assert pictures[0].tobytes() != source.tobytes()
    assert [p.tobytes() for p in reversed(again)] == [p.tobytes() for p in pictures]


def test_speed_is_measured_for_one_and_four(tiny_model: Path) -> None:
    one, four = measure(Manner(tiny_model, "dpmpp_2m", 1, 4.0), threads=1, runs=1)
    assert one > 0
    assert four > 0


def test_tables_tell_shares_in_percent() -> None:
    score = ObjectScore("plain", 200, 1.0, 0.985, 0.99, 0.98, 0.97, 0.51, ("star is heart (2x)",))
    table = markdown([score])
    assert "| plain | 200 | 100.0 % | 98.5 % |" in table
    assert "0.51" in table
    assert "star" not in table
