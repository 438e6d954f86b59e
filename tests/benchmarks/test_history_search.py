"""The benchmark of searches fills a database that can be searched, and finds what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import history_search


async def test_every_kind_of_search_finds_what_it_is_called_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_search, "TRIES", 2)
    assert await history_search._run(tmp_path, 500, "(100,000 own)") == 0
    found = {
        line.partition(" (")[0]: int(line.partition(" found")[0].split()[-1])
        for line in capsys.readouterr().out.splitlines()
        if " found, p50" in line
    }
    assert found["word in few"] == 5
    assert found["word in none"] == 0
    assert found["everything"] == found["word in many"] == found["no style"] == 10
    assert found["style in many"] > 0
    assert found["one letter"] > 0
    assert await history_search._run(tmp_path, 500, "nothing is called so") == 0  # as it is
