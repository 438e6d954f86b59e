"""Tiny models, written once for all tests of the worker."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a random SD 1.5 shaped model (eps)."""
    pytest.importorskip("torch")
    from tests.engine.worker import tiny

    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny-sd15")


@pytest.fixture(scope="session")
def tiny_sd2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a random SD 2 shaped model (v-prediction)."""
    pytest.importorskip("torch")
    from tests.engine.worker import tiny

    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny-sd2", family="sd2", seed=1)
