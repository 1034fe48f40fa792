"""Turn parsed options into the settings, slides, resolutions and masks that the library takes."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lrmil.cli.printing import stderr
from lrmil.cohorts.case_table import case_of_each, read_cases
from lrmil.cohorts.cohort import TableOptions
from lrmil.cohorts.mpp_table import read_mpp_table
from lrmil.configs import TrainConfig, with_settings
from lrmil.errors import CohortError, ConfigError, names_of
from lrmil.io.settings import parse_value, read_toml
from lrmil.presets import preset
from lrmil.slides.checksums import Checksum, ChecksumList, read_checksums
from lrmil.slides.discovery import find_slides
from lrmil.slides.inputs import local_encoder
from lrmil.slides.parts import parts_of
from lrmil.slides.resolution import PLAUSIBLE_MPP, parse_mpp
from lrmil.slides.source import SlideSource, slide_id_of

if TYPE_CHECKING:
    from lrmil.patches.tissue import Given, GivenMask


def config_of(options: argparse.Namespace) -> TrainConfig:
    """Return the settings of a training: first the file or the preset, then the named options, then ``--set``."""
    config = read_toml(options.config) if options.config else preset(options.preset)
    named = {
        "encoder": options.encoder,
        "student_encoder": options.student_encoder,
        "mpp_hr": parse_mpp(options.mpp_hr) if options.mpp_hr is not None else None,
        "mpp_lr": parse_mpp(options.mpp_lr) if options.mpp_lr is not None else None,
        "patch_size": options.patch_size,
        "folds": options.folds,
        "test_fraction": getattr(options, "test_fraction", None),  # of a training, which alone has test slides
        "seed": options.seed,
        "decision.operating_point": getattr(options, "operating_point", None),
        "decision.with_teacher": getattr(options, "with_teacher", False) or None,
    }
    settings: dict[str, object] = {name: value for name, value in named.items() if value is not None}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"Expected --set NAME=VALUE. Got {text!r}.")
        settings[name.strip()] = parse_value(value)
    return with_settings(config, settings)


def table_options_of(options: argparse.Namespace) -> TableOptions:
    """Return the options for reading the labels table."""
    return TableOptions(
        slide_column=options.slide_column,
        case_column=options.case_column,
        label_column=getattr(options, "label_column", ""),  # a table of cases has no labels
        skip_missing=getattr(options, "skip_missing", False),
        positive=getattr(options, "positive", ""),  # evaluate has no such option: the model states it
        task=getattr(options, "task", ""),
    )


def mpp_of(options: argparse.Namespace) -> float | None:
    """Return the um/px of level 0 that was given for all slides, or None.

    Raises
    ------
    ConfigError
        If no scanner has such a resolution.
    """
    if options.mpp is None:
        return None
    mpp, (low, high) = parse_mpp(options.mpp), PLAUSIBLE_MPP
    if not low <= mpp <= high:
        raise ConfigError(f"Expected --mpp from {low:g} to {high:g} um/px, as scanners have. Got {options.mpp}.")
    return mpp


def slides_of(options: argparse.Namespace) -> list[SlideSource]:
    """Return the slides in the named files and folders, each with the um/px and checksums given for it.

    Raises
    ------
    ConfigError
        If there are no slides.
    CohortError
        If a table of resolutions or a list of checksums cannot be used.
    """
    paths = _found(options)
    table, mpp = mpp_table_of(options, [slide_id_of(path) for path in paths]), mpp_of(options)
    power = options.use_objective_power
    sources = [SlideSource(slide_id_of(path), path, table.get(slide_id_of(path), mpp), power) for path in paths]
    return with_checksums(sources, options.checksums)


def with_checksums(sources: list[SlideSource], path: Path | None) -> list[SlideSource]:
    """Add to each slide the checksums of its files, and name the slides without any on stderr.

    Parameters
    ----------
    sources
        The slides.
    path
        List of checksums; None leaves the slides unchanged.

    Raises
    ------
    CohortError
        If the list cannot be read or has no checksum of any of these slides.
    """
    if path is None:
        return sources
    stated = read_checksums(path)
    found = [source._replace(checksums=_stated_of(source.path, stated)) for source in sources]
    without = [source.slide_id for source in found if not source.checksums]
    if len(without) == len(found):
        raise CohortError(f"The list of checksums '{path}' has no checksum of these slides. Is it the right list?")
    if without:
        stderr.print(f"{path.name} has no checksum of {names_of(without)}.", markup=False)
    return found


def mpp_table_of(options: argparse.Namespace, slide_ids: list[str]) -> dict[str, float]:
    """Return the um/px of each slide in the table of resolutions, and print which rows are not used."""
    if not options.mpp_table:
        return {}
    table = read_mpp_table(options.mpp_table, slide_ids)
    for sentence in table.unused:
        stderr.print(f"{options.mpp_table.name}: {sentence}", markup=False)
    return table.mpp


def cases_of(options: argparse.Namespace, slide_ids: list[str]) -> dict[str, str] | None:
    """Return the case of each slide by the table of cases, and name the slides without one on stderr.

    Parameters
    ----------
    options
        Their `cases` is the table; without it there are no cases, and None is returned.
    slide_ids
        The slides.

    Raises
    ------
    CohortError
        If the table cannot be used.
    """
    if options.cases is None:
        return None
    cases = read_cases(options.cases, slide_ids, table_options_of(options))
    found = case_of_each(cases)
    if cases.without:
        stderr.print(
            f"{options.cases.name} has no case of {names_of(cases.without)}; each counts as a patient of its own.",
            markup=False,
        )
    return found


def inputs_of(options: argparse.Namespace) -> list[Path]:
    """Return the files and folders that a command reads, apart from slides."""
    names = ("model", "mpp_table", "checksums", "reviews", "labels", "cases", "config")
    found = [getattr(options, name, None) for name in names]
    drawn = [getattr(options, "tissue", None), getattr(options, "regions", None)]
    inside = [path for location in drawn if location is not None for path in _files_of(location)]
    encoder = local_encoder(getattr(options, "encoder", None))
    return [path for path in (*found, *inside, encoder) if path is not None]


def masks_in(path: Path | None, sources: list[SlideSource]) -> "dict[str, GivenMask]":
    """Return the masks to use, by slide id, and name the slides without a mask on stderr.

    Parameters
    ----------
    path
        Folder of masks, or the mask of a single slide; None for no masks.
    sources
        The slides.
    """
    if path is None:
        return {}
    from lrmil.patches.masks import find_masks, given_mask

    found = find_masks(path, sources)
    without = [source.slide_id for source in sources if source.slide_id not in found]
    if without:
        stderr.print(f"{path.name} has no mask of {names_of(without)}; lrmil detects their tissue.", markup=False)
    return {slide_id: given_mask(mask) for slide_id, mask in found.items()}


def given_in(options: argparse.Namespace, sources: list[SlideSource]) -> "dict[str, Given]":
    """Return the masks and regions to use, by slide id, and name the slides without a mask on stderr.

    Parameters
    ----------
    options
        Their `tissue` and `regions` are as of `add_tissue` and `add_regions`.
    sources
        The slides.
    """
    masks = masks_in(options.tissue, sources)
    if options.regions is None:
        return {**masks}
    from lrmil.patches.region_files import find_regions
    from lrmil.patches.tissue import Within

    regions = find_regions(options.regions, sources, subtract_bounds=options.subtract_bounds)
    return {slide_id: Within(masks.get(slide_id), read) for slide_id, read in regions.items()}


def _files_of(masks: Path) -> list[Path]:
    from lrmil.patches.masks import mask_files

    return mask_files(masks)


def _stated_of(path: Path, stated: ChecksumList) -> tuple[Checksum, ...]:
    try:
        parts = parts_of(path)
    except OSError:  # a folder that cannot be listed: opening the slide reports it
        parts = [path]
    return tuple(one for part in parts if (one := stated.of(part, slide=path)) is not None)


def _found(options: argparse.Namespace) -> list[Path]:
    paths = find_slides(options.slides)
    if not paths:
        raise ConfigError(f"There are no slides in {', '.join(map(str, options.slides))}. Check the path.")
    return paths
