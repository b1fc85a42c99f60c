"""The `models/` folder: save, list, choose and load checkpoints.

    network + settings + metrics --save_checkpoint--> models/NAME.pth --load_checkpoint--> network

A checkpoint is one dict of plain values and tensors. It names its architecture and its input
scaling, so it rebuilds the right network by itself. It is read with `weights_only=True`, which
executes nothing: a file from a stranger can at worst be refused.

    >>> checkpoint = load_checkpoint("best")
    >>> checkpoint.architecture, checkpoint.model.training
    ('mnistnet', False)

Without this file the weights still load, the usual PyTorch way:

    >>> model = MNISTNet()
    >>> model.load_state_dict(torch.load("models/mnist_cnn.pth")["model_state_dict"])
    <All keys matched successfully>
"""

from __future__ import annotations

import difflib
import hashlib
import io
import math
import os
import platform
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from errors import ArchitectureError, CheckpointError, DigitError, ModelNotFoundError
from model import MAX_SOFTEN, DigitNetwork, InputScaling, build_model
from utils import PROJECT, save_tensors

MODELS_DIR = PROJECT / "models"
SUFFIX = ".pth"
ALIASES = {"best": "mnist_cnn_best", "last": "mnist_cnn"}

FORMAT = 2  # 2: networks may soften what they read
MAX_BYTES = 256_000_000  # our largest network takes 4 MB; more is a mistake or an attack
MOST_NAMES = 12  # of models, in a message
VERSION_DIGITS = 12
RETRAIN = "train one: python train.py, or the tab Train of the page"  # for whichever door

# What a checkpoint must hold, and as which type.
_FIELDS: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "architecture": (str,),
    "model_state_dict": (dict,),
    "scaling": (dict,),
    "settings": (dict,),
    "metrics": (dict,),
    "data": (dict,),
    "versions": (dict,),
    "created": (str,),
    "temperature": (float,),
    "refusal": (dict, type(None)),
    "extra": (dict,),
}
_LIMITS = ("unsure_above", "not_a_digit_above")  # what `refusal` holds, in rising order
_PLAIN_TENSOR = (torch.strided, "cpu")
_PLAIN_TYPES = (type(None), bool, int, float, str)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained network with everything that is known about it.

    Attributes
    ----------
    model : DigitNetwork
        On the CPU, in evaluation mode.
    architecture : str
        One of `model.list_models()`.
    settings, metrics, data : dict
        How it was trained, what it reached, and on what; plain values.
    temperature : float
        Above zero. Divide the logits by it before the softmax, so that confidence is honest.
    refusal : dict or None
        Doubt (see `predict.measure_doubt`) from which a picture is called unsure, as
        `unsure_above`, or not a digit, as `not_a_digit_above`; 0.0 to 1.0, rising.
    versions : dict
        The libraries that wrote the file.
    created : str
        ISO 8601, UTC.
    extra : dict
        Anything else that travels along; may hold tensors (a second state dict, say).
    path : Path
        The file it came from.
    version : str
        First 12 hexadecimal digits of the SHA-256 over the weights: equal weights, equal version.
    """

    model: DigitNetwork
    architecture: str
    path: Path
    version: str
    created: str
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    refusal: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name by which `resolve` finds the file again."""
        return self.path.stem

    @property
    def reference(self) -> str:
        """Name and version: which weights these are, wherever the file lies."""
        return f"{self.name}@{self.version}"

    @property
    def scaling(self) -> InputScaling:
        """What the network does to pixels first."""
        return self.model.scaling


@dataclass(frozen=True, eq=False)
class Listing:
    """One file of the models folder: its checkpoint, or why it cannot be used.

    Attributes
    ----------
    name : str
        The file name without `.pth`.
    path : Path
    checkpoint : Checkpoint or None
        None if the file cannot be used.
    problem : str
        Why it cannot be used; empty when it can.
    """

    name: str
    path: Path
    checkpoint: Checkpoint | None
    problem: str = ""


# --- choosing ---------------------------------------------------------------------------------


def list_names(folder: Path = MODELS_DIR) -> list[str]:
    """Name the checkpoints of a folder, sorted, without opening them."""
    return sorted(_files(folder))


def resolve(
    name: str | os.PathLike[str] = "best",
    folder: Path = MODELS_DIR,
    *,
    allow_paths: bool = True,
) -> Path:
    """Find the file of a checkpoint.

    Parameters
    ----------
    name : str or path, default="best"
        "best", "last", the name of a file in `folder` (with or without `.pth`), or a path.
    folder : Path, default=MODELS_DIR
        Where names are looked up.
    allow_paths : bool, default=True
        Whether `name` may be a path. Say False where the name comes from a stranger: then only
        files that lie in `folder` itself can be reached.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    ModelNotFoundError
        If there is no such file; the message lists the names that exist.
    CheckpointError
        If the path is a folder.
    """
    wanted = os.fspath(name)
    files = _files(folder)
    # Names are looked up in the folder's listing, never joined to it: no name can climb out.
    for stem in (ALIASES.get(wanted), wanted, wanted.removesuffix(SUFFIX)):
        if stem in files:
            return files[stem]
    if not allow_paths:
        raise ModelNotFoundError(f"no model {wanted!r}{_suggest(wanted, files)}")
    path = Path(wanted)
    try:
        if path.is_file():
            return path
        is_folder = wanted != "" and path.is_dir()
    except (OSError, ValueError):  # too long for the file system, or with a zero byte
        is_folder = False
    if is_folder:
        raise CheckpointError(f"{path} is a folder; give a checkpoint file in it, or {RETRAIN}")
    if len(path.parts) > 1:
        raise ModelNotFoundError(f"{path}: no such file{_suggest(path.name, files)}")
    raise ModelNotFoundError(f"no model {wanted!r} in {folder}{_suggest(wanted, files)}")


def list_checkpoints(folder: Path = MODELS_DIR) -> list[Listing]:
    """Open every checkpoint of a folder.

    Parameters
    ----------
    folder : Path, default=MODELS_DIR
        May be missing, and counts as empty then.

    Returns
    -------
    list of Listing
        By name. A file that cannot be used is listed with its problem, not left out.
    """
    listings = []
    for name, path in sorted(_files(folder).items()):
        try:
            listings.append(Listing(name, path, load_file(path)))
        except DigitError as error:
            listings.append(Listing(name, path, None, str(error)))
    return listings


def _files(folder: Path) -> dict[str, Path]:
    """Map the names in a folder to their files, but for those that are still being written."""
    return {
        path.stem: path
        for path in folder.glob(f"*{SUFFIX}")
        if path.is_file() and not path.name.startswith(".")
    }


def _suggest(wanted: str, files: Mapping[str, Path]) -> str:
    """Say what could have been meant and which names there are."""
    names = [alias for alias, stem in ALIASES.items() if stem in files] + sorted(files)
    if not names:
        return f", and there are no models yet; {RETRAIN}"
    close = difflib.get_close_matches(wanted.removesuffix(SUFFIX), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{hint} there are: {', '.join(names[:MOST_NAMES])}{more}; or {RETRAIN}"


# --- saving -----------------------------------------------------------------------------------


def save_checkpoint(
    path: Path,
    model: DigitNetwork,
    *,
    settings: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    temperature: float = 1.0,
    refusal: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Write a network and what is known about it; an older file is replaced in one step.

    Parameters
    ----------
    path : Path
        Where to write. The folder is made if it is missing.
    model : DigitNetwork
        One of `model.list_models()`, on any device. The weights are written as they are.
    settings, metrics, data : mapping, optional
        Plain values only (None, bool, int, float, str, and lists, tuples and dicts of these), so
        that the file can be read without executing anything.
    temperature : float, default=1.0
        Above zero; see `Checkpoint`.
    refusal : mapping, optional
        Two thresholds; see `Checkpoint`.
    extra : mapping, optional
        Plain values and tensors.

    Returns
    -------
    str
        The version, as `Checkpoint.version`.

    Raises
    ------
    CheckpointError
        If a value is not plain or cannot work, a weight is not finite, or the network is not one
        of ours. An older file stands.
    OutputError
        If the file cannot be written.
    """
    weights = {name: _detach(tensor) for name, tensor in model.state_dict().items()}
    _blank_model(model.name, model.scaling, weights, path)
    content = {
        "format": FORMAT,
        "architecture": model.name,
        "model_state_dict": weights,
        "scaling": {key: float(value) for key, value in asdict(model.scaling).items()},
        "settings": _plain_dict(settings, "settings"),
        "metrics": _plain_dict(metrics, "metrics"),
        "data": _plain_dict(data, "data"),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": str(np.__version__),
        },
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "temperature": float(temperature),
        "refusal": None if refusal is None else _plain_dict(refusal, "refusal"),
        "extra": _plain_dict(extra, "extra", tensors=True),
    }
    _check_fields(content, path)
    save_tensors(content, path)
    return _fingerprint(weights)


def _detach(tensor: Tensor) -> Tensor:
    """Copy a tensor to the CPU on its own storage: a view would drag its whole base along."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _plain_dict(
    values: Mapping[str, Any] | None, where: str, *, tensors: bool = False
) -> dict[str, Any]:
    """Copy a mapping of plain values; refuse what could not be read back safely."""
    plain: dict[str, Any] = _plain(dict(values or {}), where, tensors)
    return plain


def _plain(value: Any, where: str, tensors: bool) -> Any:
    """Copy one value; `where` is its place, for the message."""
    # The exact type counts: np.float64 is a float to isinstance, and pickled code in the file.
    if type(value) in _PLAIN_TYPES:
        return value
    if type(value) in (list, tuple):
        return type(value)(_plain(item, f"{where}[{i}]", tensors) for i, item in enumerate(value))
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise CheckpointError(f"{where} has the key {key!r}; make it a str or an int")
        return {key: _plain(item, f"{where}[{key!r}]", tensors) for key, item in value.items()}
    if tensors and isinstance(value, Tensor):
        return _detach(value)
    raise CheckpointError(
        f"{where} is a {type(value).__name__}, which a checkpoint cannot hold; "
        "turn it into a bool, int, float, str, list or dict first"
    )


# --- loading ----------------------------------------------------------------------------------


def load_checkpoint(
    name: str | os.PathLike[str] = "best",
    folder: Path = MODELS_DIR,
    *,
    allow_paths: bool = True,
) -> Checkpoint:
    """Rebuild a network from its checkpoint, executing nothing that the file may hold.

    Parameters
    ----------
    name, folder, allow_paths
        As for `resolve`.

    Returns
    -------
    Checkpoint
        With the network on the CPU in evaluation mode.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    CheckpointError
        If the file is not a checkpoint of ours, is damaged, or holds code.
    """
    return load_file(resolve(name, folder, allow_paths=allow_paths))


def load_file(path: Path, *, called: Path | None = None) -> Checkpoint:
    """Do what `load_checkpoint` does with exactly this file, whatever other models are called.

    Parameters
    ----------
    path : Path
        Never looked up as a name.
    called : Path, optional
        What errors call the file, where its own name would tell nobody anything.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is not a checkpoint of ours, is damaged, or holds code.
    """
    shown = called or path
    content = _read(path, shown)
    _check_fields(content, shown)
    weights = content["model_state_dict"]
    known = content["scaling"]
    scaling = InputScaling(known["mean"], known["std"], known.get("soften", 0.0))
    model = _blank_model(content["architecture"], scaling, weights, shown)
    model.load_state_dict(weights, assign=True)
    return Checkpoint(
        model=model.eval(),
        architecture=content["architecture"],
        path=path,
        version=_fingerprint(weights),
        created=content["created"],
        settings=content["settings"],
        metrics=content["metrics"],
        data=content["data"],
        versions=content["versions"],
        temperature=content["temperature"],
        refusal=content["refusal"],
        extra=content["extra"],
    )


def _read(path: Path, shown: Path) -> Any:
    """Unpack a file into plain values and tensors, or say under a name what is wrong with it."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CheckpointError(
                f"{shown} is too large for a checkpoint of ours ({size / 1e6:.0f} MB); "
                f"choose another file, or {RETRAIN}"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {shown}: {error.strerror or error}") from error
    if not raw:
        raise CheckpointError(f"{shown} is empty; choose another file, copy it anew, or {RETRAIN}")
    try:
        # torch.load skips the checksums inside the file, and unpacks to any size.
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            broken = archive.testzip() if unpacked <= MAX_BYTES else "it unpacks to too much"
        if broken is not None:
            raise zipfile.BadZipFile(broken)
        return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    # A file from a stranger can make zipfile and torch.load raise nearly anything (bad zip,
    # unpickling, key, unicode, struct, runtime errors); for us it is all one case: not our file.
    except Exception as error:
        raise CheckpointError(
            f"{shown} is damaged, or not a network that this program has trained (no code in it "
            f"was run); choose another file, copy it anew, or {RETRAIN}"
        ) from error


def _check_fields(content: Any, path: Path) -> None:
    """Refuse a dict that lacks something, or has it as another type than we write."""
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a checkpoint; {RETRAIN}"
        )
    if content and all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            f"{path} holds bare weights (a state dict) that do not say which network they are for; "
            "load them into it with load_state_dict, then write them with registry.save_checkpoint"
        )
    missing = [name for name in _FIELDS if name not in content]
    if missing:
        raise CheckpointError(
            f"{path} is not a checkpoint of this project: it lacks {', '.join(missing)}; {RETRAIN}"
        )
    if isinstance(content["format"], int) and content["format"] > FORMAT:
        raise CheckpointError(f"{path} was written by a newer version of this project; update it")
    for name, types in _FIELDS.items():
        if not isinstance(content[name], types):
            kind = type(content[name]).__name__
            raise CheckpointError(f"{path} has a {kind} as {name!r}; it is damaged: {RETRAIN}")
    scaling, temperature = content["scaling"], content["temperature"]
    soften = scaling.get("soften", 0.0)  # checkpoints of format 1 have none
    can_work = _is_finite(soften) and 0 <= soften <= MAX_SOFTEN
    if not (can_work and _is_finite(scaling.get("mean")) and _is_positive(scaling.get("std"))):
        raise CheckpointError(f"{path} has an input scaling that cannot work: {scaling}; {RETRAIN}")
    if not _is_positive(temperature):
        raise CheckpointError(
            f"{path} has the temperature {temperature}; it must be above zero and finite"
        )
    if content["refusal"] is not None and not _can_refuse(content["refusal"]):
        raise CheckpointError(
            f"{path} has a 'refusal' that cannot work: {content['refusal']}; it takes "
            f"{' and '.join(_LIMITS)}, floats from 0 to 1, not falling; {RETRAIN}"
        )


def _can_refuse(refusal: dict[Any, Any]) -> bool:
    """Whether these are the two thresholds of doubt, in their order."""
    if refusal.keys() != set(_LIMITS):
        return False
    unsure, refused = (refusal[name] for name in _LIMITS)
    return _is_finite(unsure) and _is_finite(refused) and 0 <= unsure <= refused <= 1


def _is_finite(value: object) -> bool:
    # Floats only: a file may hold an int of a thousand digits, which math.isfinite cannot take.
    return isinstance(value, float) and math.isfinite(value)


def _is_positive(value: object) -> bool:
    return isinstance(value, float) and _is_finite(value) and value > 0


def _blank_model(
    architecture: str, scaling: InputScaling, weights: Mapping[Any, Any], path: Path
) -> DigitNetwork:
    """Build a network without weights, after checking that these weights will fit into it."""
    try:
        # On "meta" nothing is drawn, so loading a model leaves a seeded training run alone.
        with torch.device("meta"):
            model = build_model(architecture, scaling)
    except ArchitectureError as error:
        raise CheckpointError(f"{path}: {error}") from error
    expected = model.state_dict()
    if weights.keys() != expected.keys():
        raise CheckpointError(
            f"{path} does not fit the network {architecture!r}: "
            f"{_name_some('it lacks', expected.keys() - weights.keys())}"
            f"{_name_some('it has unknown', weights.keys() - expected.keys())}{RETRAIN}"
        )
    for name, slot in expected.items():
        value = weights[name]
        if not isinstance(value, Tensor) or (value.layout, value.device.type) != _PLAIN_TENSOR:
            raise CheckpointError(f"{path}: {name} is not a plain tensor; {RETRAIN}")
        if value.shape != slot.shape or value.dtype != slot.dtype:
            raise CheckpointError(
                f"{path} does not fit the network {architecture!r}: {name} is "
                f"{tuple(value.shape)} {value.dtype}, not {tuple(slot.shape)} {slot.dtype}; "
                f"{RETRAIN}"
            )
        if not value.isfinite().all():
            raise CheckpointError(
                f"{path}: {name} holds values that are not numbers, as after a training that "
                "diverged; train again with a smaller --lr"
            )
    return model


def _name_some(intro: str, names: set[Any]) -> str:
    """Name at most three of the weights that are missing or too many."""
    if not names:
        return ""
    some = ", ".join(sorted(map(str, names))[:3])
    return f"{intro} {some}{' ...' if len(names) > 3 else ''}; "


def _fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Digest names, shapes and bytes of the weights."""
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:VERSION_DIGITS]
