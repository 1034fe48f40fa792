"""Preferences are those that the manifest promises."""

from dataclasses import fields

import pytest
from npe2 import PluginManifest

from napari_lrmil.state.preferences import Preferences


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-lrmil")


def test_preferences_are_those_of_the_manifest(manifest: PluginManifest) -> None:
    properties = (manifest.contributions.configurations or {})["classify"].properties
    assert {name: one.default for name, one in properties.items()} == {
        field.name: field.default for field in fields(Preferences)
    }
