"""The chain of rooms: a folder imports only from folders to its left."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHAIN = ("persondet", "runtime", "export", "quantize", "benchmarks")
COMPOSITION_ROOT = ROOT / "persondet" / "cli"


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _modules(room: str) -> list[Path]:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths, f"no modules in {room}"
    return [path for path in paths if not path.is_relative_to(COMPOSITION_ROOT)]


@pytest.mark.parametrize("room", CHAIN)
def test_a_room_imports_only_from_its_left(room: str) -> None:
    forbidden = CHAIN[CHAIN.index(room) + 1 :]
    for path in _modules(room):
        for name in _imports(path):
            assert name.partition(".")[0] not in forbidden, f"{path.relative_to(ROOT)}: {name}"


@pytest.mark.parametrize("room", CHAIN)
def test_nobody_imports_the_command_line(room: str) -> None:
    for path in _modules(room):
        for name in _imports(path):
            assert not name.startswith("persondet.cli"), f"{path.relative_to(ROOT)}: {name}"


def test_only_named_modules_start_processes() -> None:
    """One place on the laptop's side; the workers of an evaluation; the reader's probe of files
    without checksums, and the try whether a window opens: both guard against native code that
    aborts."""
    starters = {
        path.relative_to(ROOT).as_posix()
        for room in CHAIN
        for path in (ROOT / room).rglob("*.py")
        if _imports(path) & {"subprocess", "multiprocessing", "os.system", "os.popen"}
    }
    assert starters <= {
        "export/child.py",
        "export/group_guard.py",
        "export/process.py",
        "benchmarks/evaluation/workers.py",
        "runtime/qairt/probe.py",
        "runtime/window.py",
    }


def _lines_that_open_sessions(path: Path) -> list[int]:
    """Lines that name onnxruntime's InferenceSession, other than in an annotation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    annotations = [
        annotation
        for node in ast.walk(tree)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if annotation is not None
    ]
    annotated = {id(node) for annotation in annotations for node in ast.walk(annotation)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if "InferenceSession"
        in (getattr(node, "attr", ""), getattr(node, "id", ""), getattr(node, "name", ""))
        and id(node) not in annotated
    ]


def test_one_module_opens_onnxruntime_sessions() -> None:
    """The others would saturate on some CPUs. Its test opens what it is compared with."""
    allowed = {"runtime/onnx_session.py", "tests/test_onnx_session.py"}
    paths = [path for room in (*CHAIN, "tests") for path in (ROOT / room).rglob("*.py")]
    found = {
        f"{path.relative_to(ROOT).as_posix()}:{line}": path.relative_to(ROOT).as_posix()
        for path in paths
        for line in _lines_that_open_sessions(path)
    }
    assert allowed <= set(found.values())  # the search finds what there is
    assert [place for place, name in found.items() if name not in allowed] == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import onnxruntime as ort\nort.InferenceSession('m.onnx')\n", [2]),
        ("from onnxruntime import InferenceSession as S\n", [1]),
        ("import onnxruntime\nopen_it = onnxruntime.InferenceSession\n", [2]),
        ("import onnxruntime\ndef f(s: onnxruntime.InferenceSession | None) -> None: ...\n", []),
    ],
)
def test_openings_are_found_under_other_names(tmp_path: Path, text: str, lines: list[int]) -> None:
    (tmp_path / "module.py").write_text(text)
    assert _lines_that_open_sessions(tmp_path / "module.py") == lines


def test_the_runtime_imports_without_torch_onnx_click() -> None:
    """On a device: numpy, opencv and a backend's libraries."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in _modules("runtime")
        if path.name != "__init__.py"
    ]
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxsim', 'click', 'rich'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {modules!r}:\n"
        "    __import__(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("arguments", [["--help"], ["detect", "--help"], ["convert", "--help"]])
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from persondet.cli import cli\n"
        f"try:\n    cli.main({arguments!r}, standalone_mode=False)\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'cv2', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
