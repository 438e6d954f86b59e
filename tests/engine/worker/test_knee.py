"""How many rows a call should have: measured, remembered, and never a reason not to start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.worker import knee
from tests.engine.worker.local import LocalEngine


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knee, "_CANDIDATES", (2, 4))


def test_knee_is_measured_once_for_a_model_and_device(
    sd15: LocalEngine, tmp_path: Path, short: None
) -> None:
    folder = tmp_path / "cache"
    sd15.unet.rows.clear()
    first = knee.find_knee(sd15.model, folder)
    assert first in (2, 4)
    calls = len(sd15.unet.rows)
    assert calls >= 3
    assert knee.find_knee(sd15.model, folder) == first
    assert len(sd15.unet.rows) == calls, "the second start measures nothing"
    (key,) = json.loads((folder / knee.FILE).read_text())
    assert sd15.model.model_hash in key
    assert "CPU" in key


def test_a_busy_machine_is_measured_again_at_the_next_start(
    sd15: LocalEngine, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knee, "_BUSY_BUDGET_S", 0.0)
    assert knee.find_knee(sd15.model, tmp_path) == 2
    assert not (tmp_path / knee.FILE).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"KEY": 7}', '{"KEY": "2"}', '{"KEY": [2]}'])
def test_a_damaged_file_is_measured_again(
    sd15: LocalEngine, tmp_path: Path, short: None, text: str
) -> None:
    knee.find_knee(sd15.model, tmp_path)
    (key,) = json.loads((tmp_path / knee.FILE).read_text())
    (tmp_path / knee.FILE).write_text(text.replace("KEY", key))
    assert knee.find_knee(sd15.model, tmp_path) in (2, 4)


def test_a_folder_that_cannot_be_written_costs_only_the_next_measurement(
    sd15: LocalEngine, tmp_path: Path, short: None
) -> None:
    (tmp_path / "file").touch()
    assert knee.find_knee(sd15.model, tmp_path / "file" / "cache") in (2, 4)


def test_fewest_rows_that_are_nearly_as_good_are_the_knee(
    sd15: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {
        2: 1.0,
        4: 1.1,
        8: 2.0,
        16: 4.0,
        32: 8.0,
    }  # from 4 to 8 a tenth better, then the same
    monkeypatch.setattr(knee, "_BUDGET_S", 1e6)
    monkeypatch.setattr(knee, "_time_call", lambda model, rows, condition: seconds[rows])
    assert knee.measure_knee(sd15.model) == (4, True)
    seconds |= {8: 1.2, 16: 1.4, 32: 9.0}
    assert knee.measure_knee(sd15.model) == (16, True)
