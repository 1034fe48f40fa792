"""The plan of a run and how its table is read come back from its folder."""

import tomllib
from pathlib import Path

import pytest
import tomli_w

from lrmil.cohorts.cohort import TableOptions
from lrmil.configs import StepFitConfig, TrainConfig, with_settings
from lrmil.errors import FormatError
from lrmil.runs.plan_file import read_classes, read_plan, read_table_options, write_plan
from lrmil.tasks.classification import Classification

pytestmark = pytest.mark.long


class TestRunFolder:
    def test_a_plan_comes_back_and_another_version_is_refused(self, tmp_path: Path) -> None:
        write_plan(tmp_path, TrainConfig(seed=4), "slides", "labels.csv")
        assert read_plan(tmp_path) == (TrainConfig(seed=4), "slides", "labels.csv")
        text = (tmp_path / "plan.toml").read_text()
        (tmp_path / "plan.toml").write_text(text.replace("lrmil.run/1", "lrmil.run/2"))
        with pytest.raises(FormatError, match=r"lrmil\.run/1 .*lrmil\.run/2"):
            read_plan(tmp_path)
        with pytest.raises(FormatError, match=r"plan\.toml"):
            read_plan(tmp_path / "none")


@pytest.mark.parametrize(("epochs", "steps"), [(8, StepFitConfig().steps), (0, 0)])
def test_epochs_of_stage_1_in_an_earlier_plan_become_the_budget_of_steps(
    tmp_path: Path, epochs: int, steps: int
) -> None:
    stage1 = {"stage1.fit.learning_rate": 2e-4, "stage1.fit.steps": steps, "stage1.fit.ema": 0.0}
    expected = with_settings(TrainConfig(), {**stage1, "folds": 3})
    write_plan(tmp_path, expected, "slides", "labels.csv")
    document = tomllib.loads((tmp_path / "plan.toml").read_text())
    fit = document["settings"]["stage1"]["fit"]
    for name in ("steps", "interval", "ema"):
        del fit[name]
    fit |= {"epochs": epochs, "patience": 4}
    (tmp_path / "plan.toml").write_text(tomli_w.dumps(document))
    assert read_plan(tmp_path)[0] == expected


def test_an_earlier_plan_kept_nothing_of_the_start_whatever_else_it_set(tmp_path: Path) -> None:
    """A warm start needs that, and was a setting before anything was kept."""
    then = {"stage1.lambda_keep": 0.0, "stage1.stain": 0.0, "stage2.warm_start": True}
    expected = with_settings(TrainConfig(), then)
    write_plan(tmp_path, expected, "slides", "labels.csv")
    document = tomllib.loads((tmp_path / "plan.toml").read_text())
    for name in ("lambda_keep", "stain"):
        del document["settings"]["stage1"][name]
    (tmp_path / "plan.toml").write_text(tomli_w.dumps(document))
    assert read_plan(tmp_path)[0] == expected


def test_how_a_table_is_read_is_kept_beside_the_settings(tmp_path: Path) -> None:
    options = TableOptions(label_column="Grade (WHO)", positive="-1", skip_missing=True)
    write_plan(tmp_path, TrainConfig(), "slides", "labels.csv", options=options, task=Classification(("1", "-1")))
    assert read_plan(tmp_path) == (TrainConfig(), "slides", "labels.csv")
    assert (read_table_options(tmp_path), read_classes(tmp_path)) == (options, ("1", "-1"))
    write_plan(tmp_path, TrainConfig(), "slides", "labels.csv")
    assert (read_table_options(tmp_path), read_classes(tmp_path)) == (TableOptions(), ())
    text = (tmp_path / "plan.toml").read_text()
    assert "classes" not in text and "[table]" not in text
    (tmp_path / "plan.toml").write_text(text + "[table]\nslides = 3\n")
    with pytest.raises(FormatError, match="labels table"):
        read_table_options(tmp_path)
