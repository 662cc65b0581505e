"""export.sdk.versions."""

import pytest

from export.sdk.versions import Family, is_version, parse_version
from persondet.errors import InputError


@pytest.mark.parametrize(
    ("text", "numbers", "family"),
    [
        ("1.47", (1, 47), Family.SNPE_1_4),
        ("1.51.0.2663", (1, 51, 0, 2663), Family.SNPE_1),
        ("v1.68", (1, 68), Family.SNPE_1),
        ("2.5.0.4052", (2, 5, 0, 4052), Family.SNPE_2),
        ("2.22.6.240515184619_92920", (2, 22, 6, 240515184619), Family.SNPE_2),
        ("2.25", (2, 25), Family.QAIRT),
        (" 2.39.0.250926\n", (2, 39, 0, 250926), Family.QAIRT),
    ],
)
def test_a_version(text, numbers, family) -> None:
    version = parse_version(text)
    assert (version.numbers, version.family) == (numbers, family)
    assert str(version) == text.strip().removeprefix("v")


def test_the_order_is_by_number() -> None:
    texts = ["1.68", "1.68.0.3932", "2.5.0", "2.10.0"]
    assert sorted(map(parse_version, reversed(texts))) == list(map(parse_version, texts))


@pytest.mark.parametrize(
    "text", ["", "2", "2.", "SNPE 2.5", "1.68;rm", "2.5.0.1.2", "1.6\n8", "٢.٥"]
)
def test_no_version(text) -> None:
    assert not is_version(text)
    with pytest.raises(InputError, match=r"is no SDK version: expected two to four numbers"):
        parse_version(text)
