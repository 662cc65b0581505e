"""The one family of expected failures.

Everything raised from here is printed without a traceback by the command line, so a message says
what failed, what was expected and found, and what to do. Bugs keep their traceback.
"""

import re
import shlex


class PersondetError(Exception):
    """An expected failure that the user did not cause: a tool, a library or the machine failed."""

    exit_code = 1


class InputError(PersondetError):
    """A failure that the user can mend: a wrong file, option, folder or missing package."""

    exit_code = 2


_OURS = {"persondet", "runtime", "export", "quantize", "benchmarks"}
# Modules whose wheel has another name.
_WHEELS = {
    "cv2": "opencv-python",
    "google": "protobuf",
    "onnxruntime_qnn": "onnxruntime-qnn",
    "PIL": "pillow",
    "skimage": "scikit-image",
}


def missing_package(error: ModuleNotFoundError) -> Exception:
    """Return a missing third-party package as the user's error, which names the one wheel to
    install; a missing module of ours as the bug that it is.

    Not one of our extras: pip would install all of it, and opencv-python over the
    opencv-python-headless of a board.
    """
    package = (error.name or "").partition(".")[0]
    if not package or package in _OURS:
        return error
    return InputError(
        f"the Python package {package!r} is not installed, and is needed here: "
        f"pip install {wheel_requirement(_WHEELS.get(package, package))}"
    )


def wheel_requirement(name: str) -> str:
    """Return the version of a wheel that persondet asks for, quoted for a shell: "'onnx>=1.17'".

    The bare name when it asks for none, or is not installed as a package itself.
    """
    from importlib import metadata  # slow to import, and seldom needed

    try:
        lines = metadata.requires("persondet") or []
    except metadata.PackageNotFoundError:
        lines = []
    for line in lines:
        requirement = line.partition(";")[0].strip()
        found = re.fullmatch(r"([\w.-]+?)\s*[=<>!~].*", requirement)
        if found and found[1] == name:
            return shlex.quote(requirement)
    return name
