"""`from imitation_sdk.fixtures import sdk_fixture` gives a module's tests `imitation_sdk`."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from imitation_sdk.layout import make_sdk


@pytest.fixture(scope="session", name="imitation_sdk")
def sdk_fixture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """version -> root of an SDK, made once a worker; do not change what is in it."""
    folder = tmp_path_factory.mktemp("sdks")
    return cache(lambda version: make_sdk(folder, version))
