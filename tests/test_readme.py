"""The README is a promise: its commands exist, its flags are taken, its snippets run.

    ```bash, ```powershell   every line is a command
    ```console               lines that start with "$ " are commands, the others their output
    ```python                one program

Every command is checked: its file exists, and the file's own `build_parser` takes its words. A
command this file does not know is a failure, so nothing passes unread. The pictures and tables
that they name are those of `examples/make_samples.py`. Commands that take seconds are run in a copy
of the project, beside these samples, and must print what the README shows (numbers may differ).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import predict
import shelf
from registry import ALIASES, MODELS_DIR
from utils import PROJECT

README = PROJECT / "README.md"
SHELLS = {"bash", "powershell", "console"}
# Programs that end within seconds.
CHEAP = {"model.py", "predict.py", "batch_processor.py", "feedback.py", "examples/make_samples.py"}
HARMLESS = {"cd", "curl", "echo", "head", "source", "git", "sudo", "open", "xdg-open"}
HARMLESS |= {"base64", "tr", "sed"}
# What writes nothing runs in the process of the tests, which has PyTorch already; that the program
# starts on its own is shown by the example without arguments.
ONLY_READS = re.compile(r"\S*python3? predict\.py( [^|&;<>$]+)")
TIMEOUT_S = 120
READABLE = {".png", ".jpg", ".jpeg", ".webp", ".zip", ".csv"}  # endings of what commands read
FROM_KAGGLE = {"train.csv", "test.csv"}


class Block(NamedTuple):
    language: str
    text: str
    line: int  # of the opening fence, for messages


class Command(NamedTuple):
    text: str
    output: str  # what the README shows under it; often nothing
    line: int


def read_blocks(markdown: str) -> list[Block]:
    """Return the fenced code blocks, wherever they are indented."""
    blocks, language, start, lines = [], "", 0, None
    for number, line in enumerate(markdown.splitlines(), start=1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence and lines is None:
            language, start, lines = fence[1], number, list[str]()
        elif fence and lines is not None:
            blocks.append(Block(language, "\n".join(lines), start))
            lines = None
        elif lines is not None:
            lines.append(line)
    return blocks


def read_commands(block: Block) -> list[Command]:
    """Return the commands of one block: continued lines joined, comments and prompts removed."""
    commands: list[Command] = []
    text = re.sub(r"\\\n\s*", "", block.text)
    for line in text.splitlines():
        if block.language == "console" and not line.startswith("$ "):
            if commands:
                shown = commands[-1]
                commands[-1] = shown._replace(output=f"{shown.output}{line}\n")
            continue
        command = re.sub(r"(^|\s)#.*", "", line.removeprefix("$ ")).strip()
        if block.language == "powershell":
            command = command.replace("\\", "/")
        if command:
            commands.append(Command(command, "", block.line))
    return commands


def split_programs(command: str) -> list[list[str]]:
    """Split a line at `|`, `&&`, `;` and cut redirections: the words of each program called."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    programs: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;"):
            programs.append([])
        elif set(word) <= set("<>"):
            programs[-1].append(">")
        else:
            programs[-1].append(word)
    calls = []
    for words in programs:
        if ">" in words:
            words = words[: words.index(">")]
        while words and re.match(r"[A-Z_]+=", words[0]):  # DIGITS_DATA=... python train.py
            words = words[1:]
        if words:
            calls.append(words)
    return calls


def find_fault(words: list[str]) -> str:
    """Say what is wrong with the call of one program; nothing if all is well."""
    program, arguments = words[0].split("/")[-1], words[1:]
    if program in {"python", "python3", "py"}:
        return _find_python_fault([word for word in arguments if word != "-3"])
    if program == "make":
        return _find_make_fault(arguments)
    if program == "torchrun":
        _, separator, script = " ".join(arguments).partition("-- ")
        return _find_python_fault(shlex.split(script)) if separator else "torchrun needs --"
    if program == "node":
        return "" if (PROJECT / arguments[0]).is_file() else f"there is no file {arguments[0]}"
    if program == "docker":
        return _find_docker_fault(arguments)
    return "" if program in HARMLESS else f"no test knows the command {program!r}"


def _find_python_fault(arguments: list[str]) -> str:
    """Check `python FILE ...` and `python -m MODULE ...`."""
    if arguments[:1] == ["-X"]:  # an option of Python itself, with a value
        arguments = arguments[2:]
    if arguments[:1] == ["-m"]:
        if arguments[1] == "pip":
            return _find_pip_fault(arguments[2:])
        known = {"venv", "pytest", "playwright", "ruff", "mypy"}
        return "" if arguments[1] in known else f"no test knows python -m {arguments[1]}"
    if not arguments or not (PROJECT / arguments[0]).is_file():
        return f"there is no file {arguments[:1]}"
    if arguments[0].startswith("examples/"):  # run by test_examples.py; they take only files
        return ""
    stem = arguments[0].removesuffix(".py")
    parser = importlib.import_module(stem).build_parser()
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(io.StringIO()):
            parser.parse_args(arguments[1:])
    except SystemExit as stop:  # 0 is --help
        return complaint.getvalue() if stop.code else ""
    return ""


def _find_pip_fault(arguments: list[str]) -> str:
    """Check the files that pip shall read, and that versions are those of requirements.txt."""
    wanted = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for option, value in itertools.pairwise(arguments):
        if option == "-r" and not (PROJECT / value).is_file():
            return f"there is no file {value}"
    pinned = [word for word in arguments if "==" in word]
    strangers = [word for word in pinned if word not in wanted]
    return f"{strangers} is not what requirements.txt says" if strangers else ""


def _find_docker_fault(arguments: list[str]) -> str:
    """Check that what is built from is there; what Docker itself takes is not ours."""
    needed = ["Dockerfile"] if arguments[0] == "build" else []
    needed += [value for option, value in itertools.pairwise(arguments) if option == "-f"]
    missing = [name for name in needed if not (PROJECT / name).is_file()]
    return f"there is no file {missing}" if missing else ""


def _find_make_fault(arguments: list[str]) -> str:
    """Check that the targets exist, and that the program behind one takes its ARGS."""
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):.*##", makefile, re.MULTILINE))
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "ARGS" and (PROJECT / f"{arguments[0]}.py").is_file():
            return _find_python_fault([f"{arguments[0]}.py", *shlex.split(value)])
        if not value and argument not in targets:
            return f"the Makefile has no target {argument!r}"
    return ""


def is_cheap(command: str) -> bool:
    """Whether a command line runs our programs, and only such as end within seconds.

    What comes from Kaggle is not here to be read.
    """
    calls = split_programs(command)
    if any(word in FROM_KAGGLE for words in calls for word in words):
        return False
    files = [word for words in calls for word in words if word.endswith(".py")]
    tools = {words[0].split("/")[-1] for words in calls} - {"python", "python3", "head"}
    return bool(files) and set(files) <= CHEAP and not tools and "-m" not in calls[0]


def make_samples(folder: Path) -> None:
    """Draw what the commands read, as the README says that one should, in a folder."""
    program = [sys.executable, PROJECT / "examples" / "make_samples.py"]
    subprocess.run(program, cwd=folder, capture_output=True, timeout=TIMEOUT_S, check=True)


def find_missing(text: str, folder: Path) -> list[str]:
    """Name what a command or a program reads and who pastes it would not have, beside the samples.

    A sample without its folder is such a name, too.
    """
    words = set(re.findall(r"\w[\w./*-]*", text)) - FROM_KAGGLE
    return sorted(
        word
        for word in words
        if word.startswith("samples/")
        or Path(word).suffix in READABLE
        or (folder / "samples" / word).exists()
        if not any(folder.glob(word))
    )


def blur(text: str) -> list[str]:
    """Return the lines of an output without what may differ: numbers, bars, spaces, rules."""
    lines = (re.sub(r"[\W\d_]+", " ", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
BLOCKS = read_blocks(TEXT)
COMMANDS = [c for block in BLOCKS if block.language in SHELLS for c in read_commands(block)]
# What asks a running server is run by test_readme_service.py, which starts one.
SERVER = "http://127.0.0.1:7860"
PROGRAMS = [block for block in BLOCKS if block.language == "python"]
SNIPPETS = [block for block in PROGRAMS if SERVER not in block.text]


def _name(item: Command | Block) -> str:
    return f"line {item.line}: {item.text.splitlines()[0][:60]}"


# --- the README -------------------------------------------------------------------------------


def test_the_readme_has_commands_and_snippets_to_check() -> None:
    """Without this, a README that lost its code blocks would pass every test below."""
    files = {word for c in COMMANDS for words in split_programs(c.text) for word in words}

    assert {"app", "test"} <= files  # make app, make test
    assert {"predict.py", "train.py", "batch_processor.py", "model.py", "app.py"} <= files
    assert sum(is_cheap(command.text) for command in COMMANDS) >= 3
    assert any("MNISTPredictor" in snippet.text for snippet in SNIPPETS)


def test_every_block_says_its_language() -> None:
    """A fence without a language is one whose commands nobody checks."""
    known = SHELLS | {"python", "text", "json", "csv", "yaml"}

    assert [f"line {b.line}: {b.language!r}" for b in BLOCKS if b.language not in known] == []


@pytest.mark.parametrize("command", COMMANDS, ids=_name)
def test_a_command_of_the_readme_exists_and_takes_its_flags(command: Command) -> None:
    faults = [find_fault(words) for words in split_programs(command.text)]

    assert [fault for fault in faults if fault] == []


@pytest.mark.parametrize("named", [*COMMANDS, *PROGRAMS], ids=_name)
def test_what_a_command_or_a_program_of_the_readme_reads_is_among_the_samples(
    project_copy: Path, named: Command | Block
) -> None:
    assert find_missing(named.text, project_copy) == []


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if is_cheap(command.text)], ids=_name
)
def test_a_cheap_command_of_the_readme_prints_what_it_shows(
    project_copy: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if found := ONLY_READS.fullmatch(command.text):
        monkeypatch.chdir(project_copy)
        assert predict.main(shlex.split(found[1])) == 0
        printed = "".join(capfd.readouterr())
    else:
        printed = _run_in_a_shell(command.text, project_copy)

    lines = set(blur(printed))
    assert [shown for shown in blur(command.output) if shown not in lines] == []


def _run_in_a_shell(command: str, folder: Path) -> str:
    """Run a line as it is pasted, and return what it prints."""
    line = re.sub(r"\S*/python3?\b", "python", command)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("snippet", SNIPPETS, ids=_name)
def test_a_python_snippet_of_the_readme_runs(
    project_copy: Path, snippet: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "Batch" not in snippet.text:  # that one writes, and starts processes
        monkeypatch.chdir(project_copy)
        exec(snippet.text, {"__name__": "__main__"})
        return

    done = subprocess.run(
        [sys.executable, "-c", snippet.text],
        cwd=project_copy,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_every_file_that_the_readme_links_or_shows_is_there() -> None:
    links = re.findall(r"\]\(([^)#\s]+)", TEXT) + re.findall(r'(?:src|href)="([^"#]+)"', TEXT)
    local = [link for link in links if not re.match(r"\w+:", link)]

    assert [link for link in local if not (PROJECT / link).exists()] == []
    assert local[0].endswith((".gif", ".png"))  # the page at work, on the first screen


def test_the_header_for_spaces_asks_for_the_page_and_the_libraries_that_we_have() -> None:
    (header,) = [block.text for block in BLOCKS if block.language == "yaml"]
    wanted = dict(re.findall(r"^(\w+): \"?([^\"\n]+)", header, re.MULTILINE))
    requirements = (PROJECT / "requirements.txt").read_text(encoding="utf-8")

    least, below = re.findall(r"^gradio>=([\d.]+),<(\d+)$", requirements, re.MULTILINE)[0]

    assert (PROJECT / wanted["app_file"]).is_file()
    version = [int(part) for part in wanted["sdk_version"].split(".")]
    assert [int(part) for part in least.split(".")] <= version < [int(below)]
    assert wanted["sdk"] == "gradio"


def test_the_table_of_the_networks_says_what_the_command_says() -> None:
    """But for the times: one is left out, and the other is different at each run."""
    readme, command = (
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
        for text in (README.read_text(encoding="utf-8"), shelf.tabulate(MODELS_DIR))
    )
    place = readme.index([title for title in command[0] if title != "last training"])
    shown = list(itertools.takewhile(bool, readme[place + 2 :]))

    said = {tuple(row[:7]) for row in command if row[0] in shelf.SHIPPED - {ALIASES["last"]}}
    assert {tuple(row[:7]) for row in shown} == said
    assert len(shown) == len(said) == 9
    assert shown[-1][0] == ALIASES["best"]  # "the default last"


def test_every_program_is_in_the_tour_of_the_files() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in PROJECT.glob("*.py")}
    programs = [name for name, source in files.items() if "def build_parser(" in source]

    assert [name for name in programs if name not in TEXT] == []


@pytest.fixture(scope="module")
def project_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the program and its networks, so that commands may write what they like, and draw."""
    copy = tmp_path_factory.mktemp("copy") / "project"
    left_out = shutil.ignore_patterns(
        ".*", "data", "tests", "outputs", "predictions", "docs", "samples", "feedback"
    )
    shutil.copytree(PROJECT, copy, ignore=left_out)
    make_samples(copy)
    return copy


def _environment() -> dict[str, str]:
    """Return an environment in which `python` is the one that runs the tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "MPLBACKEND": "Agg"}


# --- the checks themselves --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("python model.py", ""),
        (".venv/bin/python model.py --help", ""),
        ("python model.py --colour", "unrecognized arguments"),
        ("python modle.py", "there is no file"),
        ("DIGITS_DATA=/data python modle.py", "there is no file"),
        ("make app && make test", ""),
        ("make ap", "no target 'ap'"),
        ('make train ARGS="--no-such-flag 3"', "--no-such-flag"),
        ("python -m pip install -r requirements.txt", ""),
        ("python -m pip install -r requirement.txt", "no file requirement.txt"),
        ("python -m pip install torch==1.0.0", "not what requirements.txt says"),
        ("python -m nonsense", "no test knows"),
        ("node examples/call_api.mjs a.png", ""),
        ("node examples/nonsense.mjs a.png", "there is no file"),
        ("docker build -t digits .", ""),
        ("docker compose -f deploy/nonsense.yaml up", "there is no file"),
        ("torchrun --nproc_per_node 2 -- train.py --recipe fast", ""),
        ("torchrun --nproc_per_node 2 -- train.py --colour", "--colour"),
        ("torchrun --nproc_per_node 2 train.py", "needs --"),
        ("frobnicate --all", "no test knows"),
        ("echo 1 | frobnicate > file", "no test knows"),
    ],
)
def test_the_check_of_commands_finds_what_is_wrong(command: str, fault: str) -> None:
    faults = "".join(find_fault(words) for words in split_programs(command))

    assert fault in faults
    assert bool(fault) == bool(faults)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("python predict.py samples/seven.png mine.png", ["mine.png"]),
        ("python predict.py seven.png", ["seven.png"]),
        ('python batch_processor.py "samples/*/*.jpg"', ["samples/*/*.jpg"]),
        ('python batch_processor.py "samples/*/*.png" s3://bucket/scans', []),
        ("python batch_processor.py scans", ["scans"]),
        ("curl -F image=@samples/photo.jpg http://127.0.0.1:7860/read", ["samples/photo.jpg"]),
        ("python batch_processor.py test.csv --format submission", []),
    ],
)
def test_files_that_nobody_has_are_found(tmp_path: Path, text: str, missing: list[str]) -> None:
    (tmp_path / "samples" / "scans").mkdir(parents=True)
    (tmp_path / "samples" / "seven.png").touch()
    (tmp_path / "samples" / "scans" / "7.png").touch()

    assert find_missing(text, tmp_path) == missing


def test_blocks_and_commands_are_found_as_they_are_written() -> None:
    markdown = """
```bash
make app      # opens the page
python train.py \\
    --epochs 3
```
- in a list
  ```console
  ```

```console
$ python model.py
mnistnet 422,474
$ python predict.py a.png > b.txt
```
"""

    blocks = read_blocks(markdown)
    commands = [command for block in blocks for command in read_commands(block)]

    assert [block.language for block in blocks] == ["bash", "console", "console"]
    assert [(command.text, command.output) for command in commands] == [
        ("make app", ""),
        ("python train.py --epochs 3", ""),
        ("python model.py", "mnistnet 422,474\n"),
        ("python predict.py a.png > b.txt", ""),
    ]
    assert [is_cheap(command.text) for command in commands] == [False, False, True, True]


def test_an_output_may_differ_in_numbers_but_not_in_words() -> None:
    assert blur("a.png   7  99.8 %") == blur("a.png 3 51.2 %")
    assert blur("a.png 7") != blur("b.png 7")
