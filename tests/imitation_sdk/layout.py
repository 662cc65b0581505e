"""The folder: stub scripts as tools, a line of text as each library."""

import sys
from pathlib import Path

from imitation_sdk.flags import DEVICE_TOOLS, numbers, tools_of

# One of each column of the contract; the last also writes containers without CRCs.
VERSIONS = ("1.51.0.2663", "1.68.0.3932", "2.5.0.4052", "2.25.0.240728", "2.48.0.260113")
HOST = "x86_64-linux-clang"
ANDROID_TARGETS = {1: "aarch64-android-clang8.0", 2: "aarch64-android"}
_TESTS = Path(__file__).absolute().parents[1]
_STUB = """#!{python}
import os, sys
if sys.prefix != {prefix!r}:
    os.execv({python!r}, [{python!r}, *sys.argv])
sys.path[:0] = {paths!r}
from imitation_sdk.tools import main
sys.exit(main({tool!r}, {version!r}, __file__, {fault!r}))
"""


def make_sdk(folder: Path, version: str, *, fault: str = "") -> Path:
    """Lay out an SDK under `folder` and return its root, `snpe-<version>` or `qairt/<version>`.

    fault: as in the variable IMITATION_FAULT (see `tools`), for tools whose environment a test
    cannot reach, such as on a device.
    """
    at = numbers(version)
    root = folder / "qairt" / version if at >= (2, 21) else folder / f"snpe-{version}"
    for tool in tools_of(version):
        _write_stub(root / "bin" / HOST / tool, tool, version, fault)
    _write_library(root / "lib" / HOST / "libSNPE.so", version)
    _write_python(root, at)
    for target in _targets(at):
        _write_target(root, target, version, fault)
    _write_skels(root, version)
    for name in _scripts(at):
        _write_text(root / "bin" / name, f"# {name} of the imitation {version}\n")
    benchmarks = root / "benchmarks" / ("SNPE" if at >= (2, 25) else "")
    _write_text(benchmarks / "snpe_bench.py", "# not part of the imitation\n")
    return root


def linux_target(version: str) -> str:
    """The newest embedded-Linux target that the version has."""
    return [target for target in _targets(numbers(version)) if "-oe-linux-" in target][-1]


def _targets(at: tuple[int, int]) -> tuple[str, ...]:
    if at < (2, 0):
        ubuntu = ("aarch64-ubuntu-gcc7.5",) if at >= (1, 63) else ()
        linux = ("aarch64-linux-gcc4.9", "aarch64-oe-linux-gcc6.4")
        return (ANDROID_TARGETS[1], "arm-android-clang8.0", *ubuntu, *linux)
    linux = ("aarch64-oe-linux-gcc8.2", "aarch64-oe-linux-gcc9.3")
    if at < (2, 21):
        return (ANDROID_TARGETS[1], *linux)
    return (ANDROID_TARGETS[2], *linux, "aarch64-oe-linux-gcc11.2", "aarch64-ubuntu-gcc9.4")


def hexagon_archs(version: str) -> tuple[int, ...]:
    at = numbers(version)
    later = ((73,) if at >= (2, 5) else ()) + ((75,) if at >= (2, 25) else ())
    return (65, 66, 68, 69, *later, *((79,) if at >= (2, 39) else ()))


def _processor(arch: int) -> str:
    return "Dsp" if arch < 68 else "Htp"


def _write_target(root: Path, target: str, version: str, fault: str) -> None:
    for tool in DEVICE_TOOLS:
        _write_stub(root / "bin" / target / tool, tool, version, fault)
    libraries = root / "lib" / target
    _write_library(libraries / "libSNPE.so", version)
    if "android" in target:
        _write_library(libraries / "libc++_shared.so", version)
    if numbers(version) < (2, 0):
        for name in ("libsnpe_dsp_domains", "libsnpe_dsp_domains_v2", "libsnpe_dsp_domains_v3"):
            _write_library(libraries / f"{name}.so", version)
        return
    for arch in hexagon_archs(version):
        _write_library(libraries / f"libSnpe{_processor(arch)}V{arch}Stub.so", version)


def _write_skels(root: Path, version: str) -> None:
    if numbers(version) < (2, 0):
        for name in ("v65_domains_v2", "v66_domains_v2", "v68_domains_v3"):
            _write_library(root / "lib" / "dsp" / f"libsnpe_dsp_{name}_skel.so", version)
        return
    for arch in hexagon_archs(version):
        folder = root / "lib" / f"hexagon-v{arch}" / "unsigned"
        _write_library(folder / f"libSnpe{_processor(arch)}V{arch}Skel.so", version)


def _write_python(root: Path, at: tuple[int, int]) -> None:
    package = Path("snpe") if at < (2, 0) else Path("qti", "aisw")
    _write_text(root / "lib" / "python" / package / "__init__.py", "")


def _scripts(at: tuple[int, int]) -> tuple[str, ...]:
    if at < (2, 21):
        return ("envsetup.sh", "dependencies.sh", "check_python_depends.sh")
    return ("envsetup.sh", "check-python-dependency", "check-linux-dependency.sh", "envcheck")


def _write_stub(path: Path, tool: str, version: str, fault: str) -> None:
    values = {
        "python": sys.executable,
        "prefix": sys.prefix,
        "paths": [str(_TESTS), str(_TESTS.parent)],
        **{"tool": tool, "version": version, "fault": fault},
    }
    _write_text(path, _STUB.format(**values))
    path.chmod(0o755)


def _write_library(path: Path, version: str) -> None:
    _write_text(path, f"{path.name} of the imitation {version}\n")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
