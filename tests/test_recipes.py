"""Settings of a run: what they may be, and what they become where they are kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from errors import SettingsError
from model import list_models
from recipes import RECIPES, Settings, check_settings


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_made_of_settings_that_work(name: str) -> None:
    check_settings(Settings(**RECIPES[name]))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"model": "toaster"}, "--model toaster: choose one of"),
        ({"batch_size": 1}, "--batch-size 1 cannot work: it has to be at least 2"),
        ({"lr": 0.0}, "--lr 0.0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"lr": float("inf")}, "--lr inf"),
        ({"schedule": "lunar"}, "one of one-cycle, cosine, constant"),
        ({"precision": "fp8"}, "one of auto, fp32, bf16"),
        ({"dropout": -1.0}, "--dropout -1.0"),
        ({"dropout": 2.0}, "--dropout 2.0"),
        ({"label_smoothing": 1.0}, "--label-smoothing 1.0"),
        ({"ema": 1.0}, "--ema 1.0"),
        ({"untouched": 2.0}, "--untouched 2.0"),
        ({"teacher_temperature": 0.0}, "--teacher-temperature 0.0"),
        ({"hands": -5}, "--hands -5"),
        ({"ingredients": ("milk",)}, "one or more of strokes, fonts, mnist"),
        ({"ingredients": ()}, "one or more of strokes, fonts, mnist"),
        ({"shards": 0}, "--shards 0"),
        ({"seed": -1}, "--seed -1"),
        ({"small_epochs": 1, "augment": False}, "--small-epochs needs"),
        ({"small_epochs": 1, "model": "mlp"}, "--small-epochs needs"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_the_name_of_its_flag(
    wrong: dict[str, Any], hint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check_settings(Settings(**wrong))

    assert hint in str(caught.value)


@pytest.mark.parametrize("name", list_models())
def test_only_one_network_takes_small_pictures_and_only_with_augmentation(name: str) -> None:
    assert Settings(model=name).can_be_small == (name == "mnistnet")
    assert not Settings(model=name, augment=False).can_be_small


def test_settings_come_back_from_json_as_they_were() -> None:
    settings = Settings(**RECIPES["hands"], teachers=("one", "two"))

    kept = json.loads(json.dumps(settings.to_dict()))

    lists = {name: tuple(kept[name]) for name in ("teachers", "ingredients")}
    assert Settings(**kept | lists) == settings


def test_strength_multiplies_how_far_a_picture_is_turned_but_not_how_far_it_is_bent() -> None:
    half = Settings(strength=0.5, elastic_px=0.5).augmentation

    whole = Settings(elastic_px=0.5).augmentation
    assert half.rotation_deg == whole.rotation_deg / 2
    assert half.elastic_px == whole.elastic_px == 0.5
