"""Sound LoRA files that were changed in thousands of ways: each is a style or one sentence, soon and in little memory."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import deserialize

from engine.intake import frames
from engine.lora.checking import MAX_ALPHA, MAX_WEIGHT
from engine.lora.child import TOO_MUCH_MEMORY
from engine.pocket import LORAS_DIR
from tests.engine.lora.mutations import mutated
from tests.engine.lora.test_checking import GOOD
from tests.engine.lora.warm_child import LIMIT_S

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[3]
PEAK_BYTES = 400 * 2**20


class WarmChild:
    """The process that checks, through its pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.engine.lora.warm_child"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"},
        )

    def check(self, data: bytes) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(frames.encode({}, data))
            self._process.stdin.flush()
            return frames.read(self._process.stdout, 0)[0]
        except (EOFError, BrokenPipeError):
            return {"died": self._process.wait()}

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it is gone already
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]


@pytest.fixture
def child() -> Iterator[WarmChild]:
    started = WarmChild()
    yield started
    started.close()


def sound_files() -> list[bytes]:
    """Every layout, and two styles as they are trained."""
    real = sorted(LORAS_DIR.glob("*.safetensors"))[:2]
    return [make() for make, _, _ in GOOD.values()] * 2 + [path.read_bytes() for path in real]


def numbers(tensor: dict[str, Any]) -> Any:
    data = bytes(tensor["data"])
    if tensor["dtype"] == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[tensor["dtype"]])


def complaint(data: bytes, said: dict[str, Any]) -> str | None:
    """What is wrong with a verdict; None when nothing is."""
    if "died" in said or "failed" in said:
        return str(said)
    if said["seconds"] > LIMIT_S or said["peak_bytes"] > PEAK_BYTES or said["torch"]:
        return str({name: said[name] for name in ("seconds", "peak_bytes", "torch")})
    if "refused" in said:
        text = said["refused"]
        is_sentence = 15 < len(text) < 400 and text.endswith(".") and text.isprintable()
        is_plain = text.isascii() and text != TOO_MUCH_MEMORY
        return None if is_sentence and is_plain else text
    if said["sha256"] != hashlib.sha256(data).hexdigest():
        return "another file's hash"
    for name, tensor in deserialize(data):  # the library that everybody loads with takes it, too
        values = numbers(tensor)
        largest = MAX_ALPHA if name.endswith(".alpha") else MAX_WEIGHT
        if not np.isfinite(values).all() or float(np.abs(values).max()) > largest:
            return f"{name} was taken with {values}"
    texts = [said["info"]["title"], said["info"]["description"], *said["info"]["triggers"]]
    return None if all(text.isprintable() for text in texts) else str(texts)


def fuzz(child: WarmChild, seeds: range) -> Counter[str]:
    """Checks a changed file for each seed; returns how many were taken and refused."""
    files, found = sound_files(), Counter[str]()
    slowest, most = 0.0, 0
    for seed in seeds:
        data = mutated(files, seed)
        said = child.check(data)
        wrong = complaint(data, said)
        assert wrong is None, f"seed {seed}: {wrong}"
        slowest, most = max(slowest, said["seconds"]), max(most, said["peak_bytes"])
        found["refused" if "refused" in said else "taken"] += 1
        found[said.get("refused", "")[:30]] += 1
    log.info(
        "%d files: %d taken, %d refused; at most %.2f s and %d MB for one",
        *(len(seeds), found["taken"], found["refused"], slowest, most // 10**6),
    )
    return found


def test_changed_files_are_a_style_or_one_sentence(child: WarmChild) -> None:
    found = fuzz(child, range(300))
    assert found["taken"] > 15, "some changes do no harm"
    assert len(found) > 15, "many ways to be refused"


@pytest.mark.faults
def test_thousands_of_changed_files_are_a_style_or_one_sentence(child: WarmChild) -> None:
    found = fuzz(child, range(1000, 6000))
    assert found["taken"] > 250
    assert len(found) > 20


def test_a_file_that_takes_too_long_would_be_noticed(child: WarmChild) -> None:
    child._process.send_signal(14)  # what its own clock sends
    assert "died" in child.check(b"x")
