"""What `persondet doctor` says of OpenCV; the releases are made up, how they are found is not."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.doctor.findings import JOBS
from benchmarks.doctor.opencv import RunningCv2, broken_finding, judged, opencv_findings

NO_LIBGL = "libGL.so.1: cannot open shared object file: No such file or directory"


def make_cv2(site: Path, code: str, library: bytes) -> None:
    (site / "cv2").mkdir(exist_ok=True)
    (site / "cv2" / "__init__.py").write_text(code)
    (site / "cv2" / "cv2.abi3.so").write_bytes(library)


def record_package(site: Path, name: str, version: str, library: bytes) -> None:
    """Write what pip leaves of a package whose library has these bytes."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(library).digest()).decode().rstrip("=")
    (folder / "RECORD").write_text(f"cv2/cv2.abi3.so,sha256={digest},{len(library)}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages before all others, here and in child processes."""
    monkeypatch.syspath_prepend(tmp_path)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    return tmp_path


@pytest.mark.parametrize(
    ("last", "first"),
    [
        ("opencv-python", "opencv-python-headless"),
        ("opencv-contrib-python", "opencv-python"),
        ("opencv-python-headless", "opencv-python"),
    ],
)
def test_of_two_that_lie_over_each_other_the_one_that_runs_is_named(
    site: Path, last: str, first: str
) -> None:
    """Both records name the same file; its bytes tell whose it is."""
    make_cv2(site, "__version__ = '4.14.0'", library=b"of the last")
    record_package(site, first, "4.13.0.92", b"of the first")
    record_package(site, last, "4.14.0.94", b"of the last")
    running, clash = opencv_findings()
    assert running.text == f"cv2 4.14.0 of {last}: {site / 'cv2'}"
    assert clash.level == "problem" and clash.stops == ()
    assert f"{first} 4.13.0.92" in clash.text and f"{last} 4.14.0.94" in clash.text
    assert clash.text.endswith(f"lie over each other; cv2 4.14.0 of {last} runs")
    assert clash.remedy.startswith("pip uninstall opencv-") and first in clash.remedy


def test_a_cv2_that_no_package_has(site: Path) -> None:
    """As a system's package manager installs it."""
    make_cv2(site, "__version__ = '4.14.0'", library=b"built by a distribution")
    assert opencv_findings()[0].text == f"cv2 4.14.0 of no package that pip knows: {site / 'cv2'}"


@pytest.mark.parametrize(
    ("version", "wrong"),
    [
        ("4.6.0", ["damaged JPEG", "GIF and AVIF", "orientation of WebP"]),
        ("4.10.0", ["damaged JPEG", "GIF and AVIF", "orientation of WebP"]),
        ("4.11.0", ["GIF and AVIF", "orientation of WebP"]),
        ("4.12.0-dev", ["orientation of WebP"]),
        ("4.13.0", []),
        ("5.0.0", []),
    ],
)
def test_what_an_old_release_gets_wrong(version: str, wrong: list[str]) -> None:
    package = "opencv-python-headless"
    running = RunningCv2(version, Path("/site/cv2/cv2.so"), package)
    told = judged(running, {package: f"{version}.84"})[1:]
    assert len(told) == bool(wrong)
    for found in told:
        parts = found.text.removeprefix(f"OpenCV {version} is older than 4.13: ").split("; ")
        assert [words in part for words, part in zip(wrong, parts, strict=True)] == [True] * len(
            wrong
        )
        assert found.remedy == "pip install 'opencv-python-headless>=4.13'"
        assert found.stops == ()  # it works all the same


@pytest.mark.parametrize(
    ("said", "names", "remedy"),
    [
        ("No module named 'cv2'", [], "pip install 'opencv-python>=4.13', or opencv-python-head"),
        (NO_LIBGL, ["opencv-python"], "apt install libgl1 libglib2.0-0; or, without a display"),
        (
            "numpy.core.multiarray failed to import",
            [],
            "pip install 'opencv-python-headless>=4.13': it was built for another numpy",
        ),
        (
            "only rests of it are in /site/cv2",
            ["opencv-python-headless"],
            "pip install --force-reinstall --no-deps 'opencv-python-headless>=4.13'",
        ),
        (
            "module 'cv2.dnn' has no attribute 'DictValue'",
            ["opencv-python", "opencv-python-headless"],
            "pip uninstall opencv-python opencv-python-headless, then",
        ),
    ],
)
def test_one_that_cannot_be_imported_stops_all(said: str, names: list[str], remedy: str) -> None:
    found = broken_finding(said, dict.fromkeys(names, "4.13.0.92"))
    assert found.remedy.startswith(remedy)
    assert set(found.stops) == set(JOBS)


def test_doctor_starts_and_tells_where_opencv_does_not(site: Path) -> None:
    make_cv2(site, f"raise ImportError({NO_LIBGL!r})", library=b"")
    finished = subprocess.run(
        [sys.executable, "-m", "persondet.cli", "doctor", "--for", "run:onnx", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1, finished.stderr
    assert finished.stderr.splitlines()[-1].endswith("cannot run: run:onnx")
    verdict = json.loads(finished.stdout)["jobs"]["run:onnx"]
    assert f"cv2 cannot be imported: {NO_LIBGL}" in verdict["stopped_by"]
