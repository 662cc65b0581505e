"""The one family of expected failures.

Everything raised from here is printed without a traceback by the command line, so a message says
what failed, what was expected and found, and what to do. Bugs keep their traceback.
"""


class PersondetError(Exception):
    """An expected failure that the user did not cause: a tool, a library or the machine failed."""

    exit_code = 1


class InputError(PersondetError):
    """A failure that the user can mend: a wrong file, option, folder or missing package."""

    exit_code = 2


_OURS = {"persondet", "runtime", "export", "quantize", "benchmarks"}
_EXTRAS = {
    "onnxruntime": "onnxruntime",
    "onnxruntime_qnn": "qairt",
    "click": "cli",
    "rich": "cli",
}


def missing_package(error: ModuleNotFoundError) -> Exception:
    """A missing third-party package as the user's error, which advises the smallest of our extras
    that has it; a missing module of ours as the bug that it is."""
    package = (error.name or "").partition(".")[0]
    if not package or package in _OURS:
        return error
    return InputError(
        f"the Python package {package!r} is not installed, and is needed here: "
        f"pip install 'persondet[{_EXTRAS.get(package, 'full')}]'"
    )
