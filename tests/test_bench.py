import json
from types import SimpleNamespace

import pytest

import bench
from bench import main
from errors import SettingsError
from timing import Table

CONDITIONS = {"cores": 2, "busy cores at start": 0.0}


@pytest.fixture
def asked(monkeypatch):
    """Put one part in the place of all, and return the list of what it was asked for."""
    asked = []
    table = Table("trial", "seconds", {"1": {"this / floor": 1.5}}, CONDITIONS, x="threads")
    part = SimpleNamespace(
        __doc__="Measure a trial.",
        add_arguments=lambda parser: parser.add_argument("--scale", action="store_true"),
        run=lambda args: asked.append(args) or [table],
    )
    monkeypatch.setattr(bench, "PARTS", {"trial": part})
    monkeypatch.setattr(bench, "EVERYTHING", ("trial",))
    monkeypatch.setattr(bench, "CURVES", ("trial --scale",))
    return asked


def test_a_part_prints_its_table_and_writes_it_with_its_curve(tmp_path, asked, capsys):
    code = main(["--output", str(tmp_path), "trial"])

    assert code == 0
    assert json.loads((tmp_path / "trial.json").read_text())["rows"] == {"1": {"this / floor": 1.5}}
    assert (tmp_path / "trial.png").is_file()
    assert "trial.json" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "scale"), [([], False), (["all"], False), (["scale"], True)])
def test_everything_and_the_curves_have_commands(tmp_path, asked, words, scale):
    main(["--output", str(tmp_path), *words])

    assert [args.scale for args in asked] == [scale]
    assert (tmp_path / "trial.json").is_file()


def test_results_are_reported_and_compared(tmp_path, asked, capsys):
    main(["--output", str(tmp_path), "trial"])
    capsys.readouterr()

    assert main(["--output", str(tmp_path), "report"]) == 0
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 0

    printed = capsys.readouterr().out
    assert "**trial** (seconds)" in printed
    assert "trial: 1, this / floor" in printed


def test_an_error_is_one_line_and_an_exit_code(tmp_path, asked, monkeypatch, capsys):
    def refuse(args):
        raise SettingsError("9 pictures are too few")

    monkeypatch.setattr(bench.PARTS["trial"], "run", refuse)

    assert main(["trial"]) == 2
    assert capsys.readouterr().err == "error: 9 pictures are too few\n"


def test_nothing_to_report_is_an_error(tmp_path, capsys):
    assert main(["--output", str(tmp_path), "report"]) == 1
    assert "measure first" in capsys.readouterr().err


def test_a_busy_machine_is_mentioned(tmp_path, asked, monkeypatch, capsys):
    busy = Table("trial", "seconds", {"a": {"s": 1.0}}, {"cores": 2, "busy cores at start": 1.9})
    monkeypatch.setattr(bench.PARTS["trial"], "run", lambda args: [busy])

    main(["--output", str(tmp_path), "trial"])

    assert "busy" in capsys.readouterr().err


@pytest.mark.parametrize("line", [*bench.EVERYTHING, *bench.CURVES])
def test_everything_that_is_measured_is_a_command_that_works(line):
    args = bench.build_parser().parse_args(line.split())

    assert args.command in bench.PARTS
