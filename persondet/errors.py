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
