"""The engine's benchmark, on models that take no time, so that it is right when somebody needs it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from benchmarks.engine import check, load, measures, models, report, row_batch, runner  # noqa: E402
from benchmarks.engine.contender import Listener  # noqa: E402
from benchmarks.engine.profile import busy_share  # noqa: E402
from benchmarks.engine.summary import quantile  # noqa: E402
from benchmarks.engine.trace import make_trace  # noqa: E402

pytestmark = [
    # diffusers makes numpy arrays from tensors in a way that numpy 2 will stop supporting.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SMALLEST = models.Size(
    "smallest",
    {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "cross_attention_dim": 16,
        "sample_size": 8,
    },
    models.SIZES["tiny"].vae,
    models.SIZES["tiny"].text,
    native=64,
    lora_rank=2,
    step_share=0.1,
    words="nothing",
    loras=2,
)


MACHINE = {
    "kind": "a",
    "dtype": "b",
    "threads": 1,
    "python": "3",
    "versions": {},
    "load_average": 0,
}


@pytest.fixture(autouse=True)
def smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setitem(models.SIZES, "smallest", SMALLEST)
    yield
    torch.set_num_threads(threads)
    torch.set_grad_enabled(True)  # the run switches it off, and trainings are tested after it


def options(folder: Path) -> runner.Options:
    return runner.Options(
        sizes=["smallest"],
        device="cpu",
        dtype="float32",
        threads=1,
        jobs=4,
        rounds=1,
        loads=["burst", "poisson"],
        pace="cpu",
        seconds=600,
        has_fairness=False,
        has_profile=True,
        compiled=(),
        out=folder / "out",
        work=folder / "work",
        tests=None,
    )


def test_everybody_makes_the_same_pictures_and_gets_figures(tmp_path: Path) -> None:
    assert runner.run_all(options(tmp_path))
    (size,) = json.loads((tmp_path / "out" / "results.json").read_text())["sizes"]
    assert len(size["differences"]) == 4
    assert max(difference["largest"] for difference in size["differences"]) <= 5e-4
    assert Counter(line["load"] for line in size["lines"]) == {"burst": 5, "poisson": 5}
    for line in size["lines"]:
        assert line["jobs"] == 4
        assert 0 < line["preview_p50_s"] <= line["picture_p95_s"]
    naive = next(line for line in size["lines"] if line["contender"] == runner.NAIVE)
    assert naive["faster_cpu"] == 1
    assert "| this engine |" in (tmp_path / "out" / "results.md").read_text()
    assert (tmp_path / "out" / "results.png").stat().st_size > 1000
    assert "aten::" in (tmp_path / "out" / "profile-smallest.txt").read_text()


def test_calls_are_timed_with_more_and_more_compiled_blocks(tmp_path: Path) -> None:
    studio = models.write_studio(tmp_path, SMALLEST, torch.device("cpu"), torch.float32)
    model, _ = row_batch.load(studio, "cpu", "float32")
    torch.set_grad_enabled(False)
    costs = measures.compiled_calls(model, ["transformer", "resnet"], 2, 1e9, backend="eager")
    assert [cost.kinds for cost in costs] == [(), ("transformer",), ("transformer", "resnet")]
    result = report.SizeResult("smallest", "nothing", compiled=costs)
    assert "transformer, resnet | " in report.markdown(report.Results(MACHINE, [result]))
    torch.compiler.set_stance("default")


def test_different_pictures_have_no_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = check.Tolerance(largest=-1.0, mean=-1.0)
    monkeypatch.setitem(check.TOLERANCES, "float32", never)
    assert not runner.run_all(options(tmp_path))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["sizes"][0]["lines"] == []
    assert "pictures differ" in results["left_out"][0]


def test_trace_has_its_shares_and_other_prompts_with_another_seed(tmp_path: Path) -> None:
    studio = models.Studio(SMALLEST, tmp_path, tmp_path, {"a": tmp_path, "b": tmp_path}, {"p": b""})
    first, second = (make_trace(studio, "m", 20, seed) for seed in (1, 2))
    assert Counter(job.kind for job in first) == {"txt2img": 12, "remix": 5, "pose": 3}
    assert sum(bool(job.request.adapters) for job in first) == 13
    assert len({job.request.sampler for job in first}) == 5
    assert not {job.request.prompt for job in first} & {job.request.prompt for job in second}
    assert [job.request for job in first] == [
        job.request for job in make_trace(studio, "m", 20, seed=1)
    ]


class _Slow:
    """Takes a second of the clock for each job and has nothing of its own to do."""

    name = "slow"
    keep_pixels = False

    def __init__(self) -> None:
        self.listener = Listener()
        self.waiting: list[str] = []

    def submit(self, job) -> None:
        self.waiting.append(job.id)

    def work(self) -> bool:
        if self.waiting:
            self.listener.picture(self.waiting.pop(0), b"")
            return True
        return False

    def settle(self) -> None:
        pass


def test_time_between_arrivals_is_left_out_and_every_job_is_counted(tmp_path: Path) -> None:
    studio = models.Studio(SMALLEST, tmp_path, tmp_path, {"a": tmp_path, "b": tmp_path}, {"p": b""})
    jobs = make_trace(studio, "m", 10, seed=1)
    run = load.run(_Slow(), load.poisson(jobs, per_s=0.001, seed=1), "wall")
    assert run.seconds.wall > 1000, "the clock went on"
    assert max(run.to_picture("wall")) < 10, "nobody waited"
    run = load.run(_Slow(), load.closed(jobs, people=3), "wall")
    assert len(run.lives) == 10


def test_a_lost_job_is_an_error(tmp_path: Path) -> None:
    studio = models.Studio(SMALLEST, tmp_path, tmp_path, {"a": tmp_path, "b": tmp_path}, {"p": b""})
    contender = _Slow()
    contender.work = lambda: False
    with pytest.raises(RuntimeError, match="0 of 2 jobs"):
        load.run(contender, load.burst(make_trace(studio, "m", 2, seed=1)), "wall")


def test_quantiles_and_covered_time() -> None:
    assert quantile([3, 1, 2, 4], 0.5) == 3
    assert quantile([3, 1, 2, 4], 0.95) == 4
    assert busy_share([(0, 4), (1, 2), (6, 8)]) == pytest.approx(6 / 8)
    assert busy_share([]) == 0
