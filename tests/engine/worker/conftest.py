"""Tiny models, written once for all tests of the worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.worker.local import LocalEngine, Stock


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keeps the tiny models from fighting over the cores."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


@pytest.fixture(scope="session")
def tiny_sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a random SD 1.5 shaped model (eps) with two ControlNets."""
    pytest.importorskip("torch")
    from tests.engine.worker import tiny

    folder = tiny.write_model(tmp_path_factory.mktemp("models") / "tiny-sd15")
    tiny.write_controlnet(folder, "openpose", seed=3)
    tiny.write_controlnet(folder, "canny", seed=4)
    return folder


@pytest.fixture(scope="session")
def tiny_sd2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a random SD 2 shaped model (v-prediction)."""
    pytest.importorskip("torch")
    from tests.engine.worker import tiny

    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny-sd2", family="sd2", seed=1)


@pytest.fixture(scope="session")
def tiny_pooling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a random model whose U-Net also pools the text, as the pocket model's."""
    pytest.importorskip("torch")
    from tests.engine.worker import tiny

    folder = tmp_path_factory.mktemp("models") / "tiny-pooling"
    return tiny.write_model(folder, seed=2, pools_text=True)


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a random SDXL shaped model (eps) with two ControlNets."""
    pytest.importorskip("torch")
    from tests.engine.worker import sdxl, tiny

    folder = sdxl.write_model(tmp_path_factory.mktemp("models") / "tiny-sdxl")
    tiny.write_controlnet(folder, "openpose", seed=6)
    tiny.write_controlnet(folder, "canny", seed=7)
    return folder


@pytest.fixture(scope="session")
def sd15(tiny_sd15: Path) -> LocalEngine:
    """Returns a loop with the SD 1.5 shaped model and the schedulers themselves, as the stock pipelines.

    Tests share it and use own job ids.
    """
    from tests.engine.worker.local import LocalEngine

    return LocalEngine(tiny_sd15, has_tables=False)


@pytest.fixture(scope="session")
def sd2(tiny_sd2: Path) -> LocalEngine:
    """Returns a running loop with the SD 2 shaped model."""
    from tests.engine.worker.local import LocalEngine

    return LocalEngine(tiny_sd2, has_tables=False)


@pytest.fixture(scope="session")
def stock_sd15(tiny_sd15: Path) -> Stock:
    """Returns the stock pipelines with the SD 1.5 shaped model."""
    from tests.engine.worker.local import Stock

    return Stock(tiny_sd15)


@pytest.fixture(scope="session")
def stock_sd2(tiny_sd2: Path) -> Stock:
    """Returns the stock pipelines with the SD 2 shaped model."""
    from tests.engine.worker.local import Stock

    return Stock(tiny_sd2)
