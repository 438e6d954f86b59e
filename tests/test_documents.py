"""The documents name what is there: files that were renamed are found here, links that lead nowhere too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_NAMED = re.compile(r"`([\w/]+\.py|(?:tests|docs|benchmarks)/[\w/]*)`")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def missing_files(text: str) -> list[str]:
    """A name without a folder is in the folder that was named before it."""
    missing, folder = [], ROOT
    for name in _NAMED.findall(text):
        path = ROOT / name if "/" in name else folder / name
        folder = path if path.is_dir() else path.parent
        if not path.exists():
            missing.append(name)
    return missing


def test_files_that_the_promises_name_exist() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    assert len(_NAMED.findall(text)) > 20
    assert not missing_files(text)
    assert missing_files("`tests/storage/test_jobs.py`, `test_nothing.py`") == ["test_nothing.py"]


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    broken = [
        link
        for link in _LINK.findall(document.read_text())
        if not (document.parent / link).exists()
    ]
    assert not broken
