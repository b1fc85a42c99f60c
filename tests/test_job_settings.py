"""What a page or an API may ask of a training run."""

from __future__ import annotations

from dataclasses import fields

import pytest

from errors import SettingsError
from job_settings import LIMITS, JobSettings, Limits, check_values


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"model": "resnet"}, "model: 'resnet'"),
        ({"model": 7}, "model: 7"),
        ({"epochs": 0}, "epochs: 0"),
        ({"epochs": -3}, "epochs: -3"),
        ({"epochs": 101}, "epochs: 101"),
        ({"epochs": 2.5}, "epochs: 2.5"),
        ({"epochs": True}, "epochs: True"),
        ({"epochs": None}, "epochs: it is empty"),
        ({"lr": 0}, "lr: 0"),
        ({"lr": -1}, "lr: -1"),
        ({"lr": 1.0}, "lr: 1.0"),
        ({"lr": float("nan")}, "lr: nan"),
        ({"lr": "fast"}, "lr: 'fast'"),
        ({"start": None}, "start: it is empty"),
        ({"corrections": "yes"}, "corrections: 'yes'"),
        ({"name": "../../etc/passwd"}, "name: '../../etc/passwd'"),
        ({"name": "a b"}, "name: 'a b'"),
        ({"name": "-rf"}, "name: '-rf'"),
        ({"name": "x" * 65}, "name: 'xxx"),
        ({"limit": -1}, "limit: -1"),
        ({"seed": -1}, "seed: -1"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_the_name_of_its_field(
    settings: dict[str, object], hint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check_values(JobSettings(**settings))

    assert str(caught.value).startswith(hint)


def test_what_nobody_has_changed_can_work() -> None:
    check_values(JobSettings())


def test_every_number_has_limits() -> None:
    numbers = {field.name for field in fields(JobSettings) if field.type in ("int", "float")}

    assert numbers == set(LIMITS)


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "words"),
    [
        (Limits(1, 100), [1, 100], [0, 101, 1.0, True, "1", None], "whole, from 1 to 100"),
        (
            Limits(0, 0.1, is_whole=False, takes_least=False),
            [1e-9, 0.1],
            [0, 0.0, 0.11, -1, float("nan"), float("inf"), "0.1", None],
            "above 0, up to 0.1",
        ),
    ],
)
def test_limits_hold_numbers_and_say_which(
    limits: Limits, inside: list[object], outside: list[object], words: str
) -> None:
    assert all(limits.hold(value) for value in inside)
    assert not any(limits.hold(value) for value in outside)
    assert str(limits) == words
