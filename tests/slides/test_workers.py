"""Slides worked on by other processes, through a scheduler of dask.distributed."""

import os
from functools import partial
from pathlib import Path

import pytest

from lrmil.errors import ConfigError, RunError
from lrmil.slides import dask_workers, workers
from lrmil.slides.dask_workers import DIED, DaskWorkers
from lrmil.slides.each import IN_PROCESS, Outcome, each
from lrmil.slides.source import SlideSource
from lrmil.slides.workers import Workers, kept_executor, share_threads
from support.each_work import Broken, act, outcomes, path_of, process_of, refuses_to_arrive, sources_of


def test_a_process_that_dies_every_time_fails_its_slide_alone(tmp_path: Path, two_workers: DaskWorkers) -> None:
    slides = sources_of("", "waits", "dies", "waits", "")
    found = outcomes(partial(act, begun=tmp_path), slides, two_workers)
    assert [outcome.value for outcome in found] == ["0-", "1-WAITS", None, "3-WAITS", "4-"]
    assert found[2] == Outcome(slides[2], failure=DIED)


def test_a_process_that_dies_once_loses_nothing(tmp_path: Path, two_workers: DaskWorkers) -> None:
    slides = sources_of("", "diesonce", "waits", "")
    found = outcomes(partial(act, begun=tmp_path), slides, two_workers)
    assert [outcome.value for outcome in found] == ["0-", "1-DIESONCE", "2-WAITS", "3-"]


def test_work_runs_in_all_processes_and_they_are_kept(two_workers: DaskWorkers) -> None:
    two_workers.client.wait_for_workers(2)  # those of other tests may have died just now
    first, second = (
        {outcome.value for outcome in outcomes(process_of, sources_of(*[""] * 12), two_workers)}  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert first == second and len(first) == 2 and os.getpid() not in first


def test_a_caller_hears_of_a_slide_that_takes_long(two_workers: DaskWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "INTERVAL", 0.05)
    slides = sources_of("waits", "")
    steps = list(each(act, slides, two_workers, job=("job",)))
    waited = [step for step in steps if step.job != ("job",)]
    assert waited and {step.job for step in waited} == {("job", "0-waits")}
    assert {step.result for step in waited} == {Outcome(slides[0], finished=False)}
    assert [step.done for step in steps if step.job == ("job",)] == [0, 1, 2]


def test_work_that_cannot_be_sent_is_no_failure_of_a_slide(two_workers: DaskWorkers) -> None:
    with pytest.raises(ValueError, match="cannot be made again"):
        outcomes(partial(refuses_to_arrive, broken=Broken()), sources_of("", ""), two_workers)
    assert [outcome.value for outcome in outcomes(act, sources_of(""), two_workers)] == ["0-"]


def test_a_worker_with_another_version_ends_the_run(two_workers: DaskWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "__version__", "0.0.1")
    with pytest.raises(RunError, match=r"not 0\.0\.1"):
        outcomes(act, sources_of(""), two_workers)


def test_a_worker_that_lacks_a_slide_ends_the_run(
    tmp_path: Path, two_workers: DaskWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there for this process alone."""
    absent = SlideSource("0-SlideError", tmp_path / "0-SlideError.svs")
    (found,) = outcomes(act, [absent], two_workers)
    assert found.failure is not None
    monkeypatch.setattr(Path, "exists", lambda path: True)
    with pytest.raises(RunError, match=r"does not see .*0-SlideError\.svs"):
        outcomes(act, [absent], two_workers)


def test_relative_paths_mean_the_folder_of_this_process(
    tmp_path: Path, two_workers: DaskWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    slide = SlideSource("a", Path("a.svs"))
    assert outcomes(path_of, [slide], two_workers) == [Outcome(slide, str(tmp_path / "a.svs"))]


def test_processes_of_this_machine_share_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [share_threads(threads, Workers(3)) for threads in (0, 1, 7)] == [2, 1, 2]
    assert share_threads(5, Workers(scheduler="tcp://host:8786")) == share_threads(5, IN_PROCESS) == 5
    with kept_executor(IN_PROCESS) as executor:
        assert executor is IN_PROCESS


@pytest.mark.parametrize(("processes", "scheduler"), [(0, ""), (-1, ""), (2, "tcp://host:8786")])
def test_either_processes_or_a_scheduler(processes: int, scheduler: str) -> None:
    with pytest.raises(ConfigError, match=f"Got {processes} processes"):
        Workers(processes, scheduler)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "napari-lrmil\[cluster\]"'):
        Workers(2)


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.config

    with dask.config.set({"distributed.comm.timeouts.connect": "200ms"}), pytest.raises(RunError, match=r":1 "):
        outcomes(act, sources_of(""), Workers(scheduler="tcp://127.0.0.1:1"))


class TestPlaces:
    """What a scheduler says of its workers decides how many slides are submitted, and with what."""

    @staticmethod
    def places(*said: dict[str, object]) -> tuple[int, dict[str, float] | None]:
        class Client:
            def wait_for_workers(self, n: int, timeout: float) -> None:
                if not said:
                    raise TimeoutError

            def scheduler_info(self, n_workers: int) -> dict[str, object]:
                return {"workers": {str(place): one for place, one in enumerate(said)}}

            class scheduler:
                address = "tcp://host:8786"

        return tuple(dask_workers._places(Client()))  # type: ignore[arg-type, return-value]

    def test_each_worker_has_one_slide(self) -> None:
        assert self.places(*[{"nthreads": 1, "resources": {}}] * 3) == (3, None)

    def test_where_some_have_a_gpu_only_those_are_used(self) -> None:
        gpu = {"nthreads": 1, "resources": {"GPU": 1.0}}
        assert self.places(gpu, {"nthreads": 1, "resources": {}}, gpu) == (2, {"GPU": 1})

    def test_a_worker_of_several_threads_is_refused(self) -> None:
        with pytest.raises(RunError, match="--nthreads 1"):
            self.places({"nthreads": 1, "resources": {}}, {"nthreads": 4, "resources": {}})

    def test_a_scheduler_without_workers_is_named(self) -> None:
        with pytest.raises(RunError, match="tcp://host:8786 has no worker"):
            self.places()
