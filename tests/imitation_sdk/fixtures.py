"""`from imitation_sdk.fixtures import imitation_sdk` gives a test module SDKs by version."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from imitation_sdk.layout import make_sdk


@pytest.fixture(scope="session")
def imitation_sdk(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """version -> root of an SDK, made once a worker; do not change what is in it."""
    folder = tmp_path_factory.mktemp("sdks")
    return cache(lambda version: make_sdk(folder, version))
