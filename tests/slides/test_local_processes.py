"""Slides worked on in other processes of this machine."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from lrmil.errors import ConfigError
from lrmil.slides.local_processes import DIED, LocalProcesses
from support.each_work import (
    Broken,
    act,
    outcomes,
    process_of,
    refuses_to_arrive,
    sources_of,
)


def test_a_process_that_dies_fails_its_slide_alone(tmp_path: Path) -> None:
    slides = sources_of("", "dies", "", "dies", "", "dies", "dies", "")
    found = outcomes(partial(act, begun=tmp_path), slides, LocalProcesses(2))
    assert [outcome.value for outcome in found] == [
        None if "dies" in slide.slide_id else slide.slide_id.upper() for slide in slides
    ]
    assert [outcome.failure for outcome in found if outcome.value is None] == [DIED] * 4
    assert len(list(tmp_path.iterdir())) == len(slides)


def test_work_runs_in_as_many_processes_as_asked() -> None:
    found = {outcome.value for outcome in outcomes(process_of, sources_of(*[""] * 12), LocalProcesses(2))}  # type: ignore[arg-type]
    assert len(found) == 2 and os.getpid() not in found
    with pytest.raises(ConfigError, match="Got 0"):
        LocalProcesses(0)


def test_work_that_cannot_be_sent_is_no_failure_of_a_slide() -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        outcomes(lambda slide: slide.slide_id, sources_of("", ""), LocalProcesses(2))
    with pytest.raises(RuntimeError, match="before any slide"):
        outcomes(partial(refuses_to_arrive, broken=Broken()), sources_of("", ""), LocalProcesses(2))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    script = f"""
from functools import partial
from pathlib import Path
from lrmil.slides.each import each
from lrmil.slides.local_processes import LocalProcesses
from lrmil.slides.source import SlideSource
from support.each_work import linger
slides = [SlideSource("a", Path("a.svs"))]
list(each(partial(linger, begun=Path({str(begun)!r})), slides, LocalProcesses(1), job=("job",)))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    for _ in range(1200):
        if begun.exists() or parent.poll() is not None:
            break
        time.sleep(0.05)
    assert begun.exists()
    parent.kill()
    parent.communicate(timeout=30)  # ends when no process is left that may write
