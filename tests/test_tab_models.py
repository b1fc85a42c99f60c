"""The handlers of the tab "Models"; in a browser it is tested by test_browser_train.py."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path

import gradio as gr
import pytest

import promotion
import shelf
import tab_models
from access import Access
from model import build_model
from registry import list_names, load_checkpoint, save_checkpoint
from service import Service
from tab_models import ask, change, compare, delete, fetch, go_back, make_best, show, upload, use

TOKEN = "a-token-of-some-length"


@pytest.fixture
def folder(tmp_path: Path, models_folder: Path) -> Path:
    """Return a models folder that may be changed, with two more models, one of them damaged."""
    folder = tmp_path / "models"
    shutil.copytree(models_folder, folder)
    save_checkpoint(folder / "other.pth", build_model("cnn3"))
    (folder / "broken.pth").write_bytes(b"no checkpoint")
    return folder


@pytest.fixture
def service(folder: Path, mnist_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Serve the folder; other hands are MNIST's own digits here, which are made in no time."""
    monkeypatch.setattr(
        promotion, "make_hands", lambda count, *, mnist, **_: (mnist[0][:count], mnist[1][:count])
    )
    return Service(models_folder=folder, data_folder=mnist_folder, device="cpu")


def version(service: Service, name: str = "best") -> str:
    return load_checkpoint(name, service.models_folder).version


def said(shown: list) -> str:
    return unescape(str(shown[1]))


# --- the table ------------------------------------------------------------------------------------


def test_every_file_is_in_the_table_also_the_one_that_cannot_be_used(service: Service) -> None:
    table, _, choice, *_ = show(service, None)

    assert [value for _, value in choice.choices] == list_names(service.models_folder)
    assert choice.value == "mnist_cnn_best"
    assert "in use" in table
    assert "broken.pth is damaged" in table
    assert str(service.models_folder) not in table  # nobody needs to know the server's folders
    assert "242,762" in table


def test_a_list_that_comes_late_leaves_the_choice_as_it_is(service: Service) -> None:
    choice, gone = (
        show(service, name, keep=True)[2].constructor_args for name in ("other", "nobody")
    )

    assert "value" not in choice
    assert gone["value"] == "mnist_cnn_best"


def test_a_model_that_was_deleted_on_another_page_goes_from_this_one(service: Service) -> None:
    (service.models_folder / "other.pth").unlink()

    shown = change(service, use, "other", None)

    assert "Not done" in said(shown)
    assert ">other<" not in shown[0]
    assert "other" not in [value for _, value in shown[2].choices]


def test_a_trial_is_called_one_beside_its_name(service: Service) -> None:
    save_checkpoint(
        service.models_folder / "short.pth",
        build_model("mlp"),
        metrics={"validation_accuracy": 0.998},
        data={"validation_pictures": 2_000},
    )

    table = show(service, None)[0]

    assert table.count("a trial, measured on 2,000 pictures") == 1


def test_what_is_unknown_about_a_model_is_a_dash(service: Service) -> None:
    save_checkpoint(
        service.models_folder / "known.pth",
        build_model("mlp"),
        metrics={"test_accuracy": 0.9876, "validation_accuracy": 1},
        refusal={"unsure_above": 0.1, "not_a_digit_above": 0.5},
    )

    table = show(service, None)[0]

    row = table[table.index("<tr><td>known") :]
    assert "98.76 %" in row
    assert "–" in row
    assert "<td>yes</td>" in row


def test_a_name_or_date_from_elsewhere_is_text_and_not_page(service: Service) -> None:
    import torch

    path = service.models_folder / "other.pth"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "created": "<b>now</b>"}, path)

    table = show(service, None)[0]

    assert "<b>now" not in table
    assert "&lt;b&gt;now" in table


# --- changes --------------------------------------------------------------------------------------


def test_another_model_reads_from_now_on(service: Service) -> None:
    shown = change(service, use, "other", "")

    assert service.predictor.checkpoint.name == "other"
    assert "other reads from now on" in said(shown)


def test_a_worse_model_does_not_become_the_best_and_the_reason_is_told(service: Service) -> None:
    first = version(service)

    shown = change(service, make_best, "other", "")

    assert version(service) == first
    assert "stays as it was, for other is worse (MNIST: " in said(shown)


def test_a_better_model_becomes_the_best_reads_and_can_be_taken_back(service: Service) -> None:
    first = version(service)
    shutil.copy(service.models_folder / "mnist_cnn.pth", service.models_folder / "same.pth")
    save_checkpoint(service.models_folder / "mnist_cnn_best.pth", build_model("mlp"))
    service.use_model("best")
    untrained = service.predictor.checkpoint.version

    shown = change(service, make_best, "same", "")
    promoted = service.predictor.checkpoint.version
    back = change(service, go_back, "", "")

    assert promoted == first
    assert "same is the best model now" in said(shown)
    assert shown[5].interactive  # there is a way back
    assert "again what it was before" in said(back)
    assert service.predictor.checkpoint.version == version(service) == untrained


def test_a_deleted_model_is_gone(service: Service) -> None:
    shown = change(service, delete, "other", "")

    assert "other" not in list_names(service.models_folder)
    assert "other is deleted" in said(shown)
    assert shown[2].value == "mnist_cnn_best"


@pytest.mark.parametrize(
    ("action", "name", "hint"),
    [
        (use, "nobody", "no model 'nobody'"),
        (use, "../models/other", "no model"),
        (use, "broken", "damaged"),
        (use, "", "no model"),
        (use, None, "no model"),
        (delete, "mnist_cnn_best", "in use"),
        (delete, "mnist_cnn", "belongs to the program"),
        (make_best, "broken", "damaged"),
        (make_best, "mnist_cnn_best", "already"),
        (go_back, "", "nothing to go back to"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    service: Service, action: Callable[[Service, str], str], name: str, hint: str
) -> None:
    before = {name: version(service, name) for name in ("best", "last", "other")}

    shown = change(service, action, name, "")

    assert "Not done:" in said(shown)
    assert hint in said(shown)
    assert shown[0] in (gr.skip(), show(service, None)[0])
    assert not shown[6].visible  # the question
    assert {name: version(service, name) for name in ("best", "last", "other")} == before
    assert service.predictor.checkpoint.name == "mnist_cnn_best"


@pytest.mark.parametrize(
    ("access", "token"),
    [(Access(token=TOKEN), "guessed"), (Access(token=TOKEN), ""), (Access(True), TOKEN)],
)
@pytest.mark.parametrize("action", [use, make_best, go_back, delete])
def test_only_who_may_change_something_changes_the_models(
    service: Service, access: Access, token: str, action: Callable[[Service, str], str]
) -> None:
    service.access = access

    shown = change(service, action, "other", token)

    assert re.search(r"token|changes are off", said(shown))
    assert service.predictor.checkpoint.name == "mnist_cnn_best"
    assert "other" in list_names(service.models_folder)


def test_with_the_token_the_models_can_be_changed(service: Service) -> None:
    service.access = Access(beyond_loopback=True, token=TOKEN)

    change(service, use, "other", TOKEN)

    assert service.predictor.checkpoint.name == "other"


def test_before_deleting_it_is_asked(service: Service) -> None:
    question, words, button, asked = ask(service, "other")
    nothing = ask(service, None)

    assert (question.visible, button.visible) == (True, True)
    assert "Delete other for good?" in words
    assert asked == "other"
    assert not nothing[2].visible


def test_the_model_in_use_is_not_offered_for_deletion(service: Service) -> None:
    """It is chosen when the tab is opened, so that the first click led to a refusal."""
    _, words, button, _ = ask(service, "mnist_cnn_best")

    assert "mnist_cnn_best is the one that reads now" in words
    assert not button.visible


# --- files in and out -----------------------------------------------------------------------------


def test_an_uploaded_model_is_checked_added_and_its_upload_removed(
    service: Service, tmp_path: Path
) -> None:
    file = Path(shutil.copy(service.models_folder / "other.pth", tmp_path / "my net.pth"))

    shown = upload(service, str(file), "")

    assert version(service, "my-net") == version(service, "other")
    assert shown[2].value == "my-net"
    assert not file.exists()


@pytest.mark.parametrize("content", [b"", b"GIF89a", bytes(shelf.MAX_UPLOAD_BYTES + 1)])
def test_what_is_not_a_model_is_not_added(service: Service, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "new.pth"
    file.write_bytes(content)

    shown = upload(service, str(file), "")

    assert "Not added:" in said(shown)
    assert "new" in said(shown)
    assert "new" not in list_names(service.models_folder)
    assert not file.exists()


@pytest.mark.parametrize("path", [None, "", "/nowhere/x.pth"])
def test_an_upload_that_did_not_arrive_is_told(service: Service, path: str | None) -> None:
    assert "did not arrive" in said(upload(service, path, ""))


def test_an_upload_without_the_token_is_refused_and_removed(
    service: Service, tmp_path: Path
) -> None:
    service.access = Access(token=TOKEN)
    file = Path(shutil.copy(service.models_folder / "other.pth", tmp_path / "new.pth"))

    shown = upload(service, str(file), "guessed")

    assert "token" in said(shown)
    assert "new" not in list_names(service.models_folder)
    assert not file.exists()


def test_a_model_of_the_folder_can_be_downloaded(service: Service) -> None:
    assert Path(fetch(service, "other")) == service.models_folder / "other.pth"


@pytest.mark.parametrize("name", ["nobody", None, "../../etc/passwd"])
def test_nothing_but_models_of_the_folder_can_be_downloaded(
    service: Service, name: str | None
) -> None:
    with pytest.raises(gr.Error, match="model"):
        fetch(service, name)


# --- comparing ------------------------------------------------------------------------------------


def test_two_models_read_the_same_drawing(service: Service, digit_png) -> None:
    content = base64.b64encode(digit_png(7).read_bytes()).decode()
    drawing = {"kind": "drawing", "data": f"data:image/png;base64,{content}"}

    first, second = compare(service, drawing, "mnist_cnn_best", "other")
    again = compare(service, drawing, "mnist_cnn_best", "mnist_cnn_best")

    assert "This is a 7" in first
    assert second != first
    assert again == (first, first)


@pytest.mark.parametrize(
    ("value", "name", "hint"),
    [
        (None, "other", "Draw a digit"),
        ("nonsense", "other", "Cannot be read"),
        ({"data": "data:image/png;base64,AAAA"}, "other", "Cannot be read"),
        (None, "nobody", "no model"),
        (None, "../../etc/passwd", "no model"),
        (None, "broken", "damaged"),
        (None, None, "no model"),
    ],
)
def test_what_cannot_be_compared_is_a_message(
    service: Service, value: object, name: str, hint: str
) -> None:
    for shown in compare(service, value, name, name):
        assert hint in shown


def test_two_different_models_are_compared_at_first(service: Service) -> None:
    with gr.Blocks():
        sides = tab_models._build_comparison(service)

    assert [side.value for side in sides] == ["mnist_cnn_best", "broken"]
    assert [value for _, value in sides[1].choices][1:] == ["broken", "mnist_cnn", "other"]


def test_a_model_that_was_replaced_is_loaded_anew(service: Service) -> None:
    before = tab_models._load(service, "other").checkpoint.version
    save_checkpoint(service.models_folder / "other.pth", build_model("cnn1"))

    after = tab_models._load(service, "other").checkpoint

    assert after.version != before
    assert after.architecture == "cnn1"
