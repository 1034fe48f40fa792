"""napari finds the plugin by its manifest, from a wheel and from an editable install, and everything in it exists."""

from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import npe2
import pytest
from npe2 import PluginManifest

import napari_lrmil
from lrmil.slides.source import EXTENSIONS, FLAT_EXTENSIONS
from support.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-lrmil")


def test_the_installed_distribution_carries_it(manifest: PluginManifest) -> None:
    assert manifest.name == "napari-lrmil" and manifest.display_name == "LRMIL"
    points = [point for point in distribution("napari-lrmil").entry_points if point.group == "napari.manifest"]
    assert [point.value for point in points] == ["napari_lrmil:napari.yaml"]


def test_the_file_at_the_top_is_the_one_in_the_package() -> None:
    package = Path(napari_lrmil.__file__).parent / "napari.yaml"
    top = (REPOSITORY / "napari.yaml").read_text(encoding="utf-8")
    assert top == package.read_text(encoding="utf-8") or top.strip() == "src/napari_lrmil/napari.yaml"


def test_every_command_leads_to_something_callable(manifest: PluginManifest) -> None:
    names = [command.python_name for command in manifest.contributions.commands or []]
    assert len(names) == 8
    for name in names:
        module, _, attribute = str(name).partition(":")
        assert callable(getattr(import_module(module), attribute))


def test_widgets_have_the_promised_names(manifest: PluginManifest) -> None:
    widgets = [widget.display_name for widget in manifest.contributions.widgets or []]
    assert widgets == ["Classify slide", "Worklist", "Train from folder"]


def test_commands_menus_and_samples_use_one_name_for_one_thing(manifest: PluginManifest) -> None:
    contributions = manifest.contributions
    titles = {command.id: command.title for command in contributions.commands or []}
    for one in [*(contributions.widgets or []), *(contributions.sample_data or [])]:
        assert titles[one.command] == one.display_name
    in_menus = {item.command for items in (contributions.menus or {}).values() for item in items}
    assert in_menus == {widget.command for widget in contributions.widgets or []}


def test_the_reader_claims_what_the_core_opens(manifest: PluginManifest) -> None:
    (reader,) = manifest.contributions.readers or []
    slides = set(EXTENSIONS) - set(FLAT_EXTENSIONS)  # napari opens pictures itself, and not every one is a slide
    assert {pattern.removeprefix("*") for pattern in reader.filename_patterns} == slides
    assert reader.accepts_directories


def test_npe2_accepts_it(capsys: pytest.CaptureFixture[str]) -> None:
    from npe2.cli import app
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["validate", "napari-lrmil", "--imports"])
    assert done.exit_code == 0, done.output
    assert npe2.__version__


@pytest.mark.usefixtures("display")
def test_a_changed_preference_reaches_a_new_session(make_napari_viewer: "Callable[..., object]") -> None:
    from napari.settings import get_plugin_settings

    from napari_lrmil.session.viewers import session_of

    viewer = make_napari_viewer()
    settings = get_plugin_settings("napari-lrmil").classify
    before = settings.top_patches
    try:
        settings.top_patches = 5
        assert session_of(viewer).preferences.top_patches == 5
    finally:
        settings.top_patches = before
