"""The sites of a run's slides, RUN/sites.json in the format lrmil.sites/1, and the figures of its test slides by site.

Names of sites stay in the files of the run: its model keeps keyed hashes of them (`lrmil.models.origins`).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import StringConstraints, TypeAdapter, with_config
from pydantic.dataclasses import dataclass

from lrmil.cohorts.cohort import Cohort
from lrmil.errors import FormatError
from lrmil.io import atomic
from lrmil.io.documents import read_json_document
from lrmil.io.ownership import is_sites
from lrmil.io.plain_data import CLOSED, Text, parse_plain
from lrmil.runs.calibrated_figures import ShippedAnswers, of_all
from lrmil.tasks.by_site import figures_by_site

SITES = "sites.json"
FORMAT: Literal["lrmil.sites/1"] = "lrmil.sites/1"


@with_config(CLOSED)
@dataclass(frozen=True)
class _Document:
    format: Literal["lrmil.sites/1"]
    sites: dict[Text, Annotated[Text, StringConstraints(min_length=1)]]


def write_sites(run: Path, cohort: Cohort) -> None:
    """Write the site of each slide that has one; without any, remove the file.

    Raises
    ------
    OverwriteError, OutputError
        If it cannot be written.
    """
    if sites := {slide.slide_id: slide.site for slide in cohort.slides if slide.site}:
        atomic.write_json(run / SITES, {"format": FORMAT, "sites": sites}, is_sites)
    else:
        atomic.remove_ours(run / SITES, is_sites)


def read_sites(run: Path) -> Mapping[str, str]:
    """Read what `write_sites` wrote: slide id -> site; empty if no slide has one, or the run is of an earlier version.

    Raises
    ------
    FormatError
        If the file is damaged.
    """
    if not os.path.lexists(run / SITES):
        return {}
    try:
        return parse_plain(TypeAdapter(_Document), read_json_document(run / SITES)).sites
    except (OSError, FormatError) as error:
        raise FormatError(f"{run / SITES} cannot be read: {error} Run the same lrmil train command again.") from error


def site_figures(
    cohort: Cohort,
    tested: Sequence[tuple[str, str]],
    shipped: Mapping[str, ShippedAnswers],
) -> dict[str, object]:
    """Return the member "by_site" of metrics.json.

    Parameters
    ----------
    cohort
        The slides and the task.
    tested
        Fold and id of each test slide.
    shipped
        Fold -> what its model would say of its test slides.
    """
    thresholds = [shipped[fold].threshold for fold, _ in tested]
    slides = [cohort.by_id[slide_id] for _, slide_id in tested]
    found = figures_by_site(
        cohort.task,
        [cohort.targets[slide.slide_id] for slide in slides],
        np.stack([shipped[fold].values[slide_id] for fold, slide_id in tested]),
        [slide.case_id for slide in slides],
        [slide.site for slide in slides],
        of_all(thresholds),
    )
    return {"calibrated": all(one.calibrated for one in shipped.values()), "sites": found}
