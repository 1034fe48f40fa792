"""From parsed options to what the library takes: settings, slides, resolutions, masks."""

import argparse
from pathlib import Path

from lrmil.cli.printing import stderr
from lrmil.cohorts.cohort import TableOptions
from lrmil.cohorts.mpp_table import read_mpp_table
from lrmil.configs import TrainConfig, parse_value, with_settings
from lrmil.errors import CohortError, ConfigError, names_of
from lrmil.io.settings import read_toml
from lrmil.patches.masks import find_masks, given_mask, mask_files
from lrmil.patches.tissue import GivenMask
from lrmil.reviews.log import ReviewLog, require_reviews
from lrmil.slides.checksums import Checksum, ChecksumList, read_checksums
from lrmil.slides.discovery import find_slides
from lrmil.slides.inputs import local_encoder
from lrmil.slides.parts import parts_of
from lrmil.slides.resolution import PLAUSIBLE_MPP, parse_mpp
from lrmil.slides.source import SlideSource, slide_id_of


def config_of(options: argparse.Namespace) -> TrainConfig:
    """Settings of a training: the file, then the named options, then ``--set``."""
    config = read_toml(options.config) if options.config else TrainConfig()
    named = {
        "encoder": options.encoder,
        "student_encoder": options.student_encoder,
        "mpp_hr": parse_mpp(options.mpp_hr) if options.mpp_hr is not None else None,
        "mpp_lr": parse_mpp(options.mpp_lr) if options.mpp_lr is not None else None,
        "patch_size": options.patch_size,
        "folds": options.folds,
        "seed": options.seed,
    }
    settings: dict[str, object] = {name: value for name, value in named.items() if value is not None}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"Expected --set NAME=VALUE. Got {text!r}.")
        settings[name.strip()] = parse_value(value)
    return with_settings(config, settings)


def table_options_of(options: argparse.Namespace) -> TableOptions:
    """How the labels table is to be read."""
    return TableOptions(
        slide_column=options.slide_column,
        case_column=options.case_column,
        label_column=options.label_column,
        skip_missing=options.skip_missing,
        positive=getattr(options, "positive", ""),  # of evaluate, the model says which class is positive
        task=getattr(options, "task", ""),
    )


def mpp_of(options: argparse.Namespace) -> float | None:
    """Resolution of level 0 in um/px that was given for all slides."""
    if options.mpp is None:
        return None
    mpp, (low, high) = parse_mpp(options.mpp), PLAUSIBLE_MPP
    if not low <= mpp <= high:
        raise ConfigError(f"Expected --mpp from {low:g} to {high:g} um/px, as scanners have. Got {options.mpp}.")
    return mpp


def slides_of(options: argparse.Namespace) -> list[SlideSource]:
    """Slides in the named files and folders, each with the um/px that was given for it."""
    paths = _found(options)
    table, mpp = mpp_table_of(options, [slide_id_of(path) for path in paths]), mpp_of(options)
    power = options.use_objective_power
    sources = [SlideSource(slide_id_of(path), path, table.get(slide_id_of(path), mpp), power) for path in paths]
    return with_checksums(sources, options.checksums)


def with_checksums(sources: list[SlideSource], path: Path | None) -> list[SlideSource]:
    """Add to each slide what a list states of its files, and say of which slides it states nothing."""
    if path is None:
        return sources
    stated = read_checksums(path)
    found = [source._replace(checksums=_stated_of(source.path, stated)) for source in sources]
    without = [source.slide_id for source in found if not source.checksums]
    if len(without) == len(found):
        raise CohortError(f"Expected checksums of these slides in '{path}'; it states none. Is it the right list?")
    if without:
        stderr.print(f"{path.name} states no checksum of {names_of(without)}.", markup=False)
    return found


def mpp_table_of(options: argparse.Namespace, slide_ids: list[str]) -> dict[str, float]:
    """Read the table of resolutions when there is one, and say what of it is not used."""
    if not options.mpp_table:
        return {}
    table = read_mpp_table(options.mpp_table, slide_ids)
    for sentence in table.unused:
        stderr.print(f"{options.mpp_table.name}: {sentence}", markup=False)
    return table.mpp


def inputs_of(options: argparse.Namespace) -> list[Path]:
    """Return the files and folders that a command reads besides slides."""
    names = ("model", "mpp_table", "checksums", "reviews", "labels", "config")
    found = [getattr(options, name, None) for name in names]
    masks = getattr(options, "tissue", None)
    inside = mask_files(masks) if masks is not None else []
    encoder = local_encoder(getattr(options, "encoder", None))
    return [path for path in (*found, *inside, encoder) if path is not None]


def masks_in(place: Path | None, sources: list[SlideSource]) -> dict[str, GivenMask]:
    """Slide id -> the mask to use, for the slides that have one; say of which slides the tissue is found instead."""
    if place is None:
        return {}
    found = find_masks(place, sources)
    without = [source.slide_id for source in sources if source.slide_id not in found]
    if without:
        stderr.print(f"{place.name} has no mask of {names_of(without)}: their tissue is found.", markup=False)
    return {slide_id: given_mask(path) for slide_id, path in found.items()}


def review_log_at(path: Path) -> ReviewLog:
    """Read a review log, and say which of its lines cannot be read."""
    log = require_reviews(path)
    if log.unreadable:
        lines = ", ".join(map(str, log.unreadable))
        stderr.print(f"{path} has lines that cannot be read and were passed over: {lines}", markup=False)
    return log


def _stated_of(path: Path, stated: ChecksumList) -> tuple[Checksum, ...]:
    try:
        parts = parts_of(path)
    except OSError:  # a folder that cannot be listed: opening it says so
        parts = [path]
    return tuple(one for part in parts if (one := stated.of(part, slide=path)) is not None)


def _found(options: argparse.Namespace) -> list[Path]:
    paths = find_slides(options.slides)
    if not paths:
        raise ConfigError(f"Expected slides. Got none in {', '.join(map(str, options.slides))}.")
    return paths
