"""The benchmark of suggestions asks the real bot, and each of its questions has answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import autocomplete

pytest.importorskip("torch")


async def test_each_question_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await autocomplete.run(tmp_path, styles=60, pictures=300, tries=1) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("/")]
    assert len(lines) == len(autocomplete.TYPED)
    found = {line.partition(" found")[0].rsplit(None, 1)[0].strip(): line for line in lines}
    assert " 25 found" in found["/imagine style: ''"]
    assert "  1 found" in found["/imagine style: 'style 49'"]
    assert " 25 found" in found["/remix source: ''"]
    assert "  0 found" in found["/upscale source: 'nosuchword'"]
