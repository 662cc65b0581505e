"""export.socs: the table of SoCs."""

import re

import pytest

from export.socs import SOCS, soc
from persondet.errors import InputError
from runtime.qairt.executor import ARCHS


@pytest.mark.parametrize(
    ("name", "model", "arch"),
    [("sm8350", 30, 68), ("sm8450", 36, 69), ("sm8550", 43, 73), ("sm8650", 57, 75)],
)
def test_the_pairs_of_the_reference(name, model, arch) -> None:
    assert (soc(name).model, soc(name).arch) == (model, arch)


def test_names_are_written_in_any_case() -> None:
    assert soc("SM8750") is soc("sm8750")
    assert (soc("sm8750").model, soc("sm8750").arch) == (69, 79)


def test_the_table_is_consistent() -> None:
    assert all(name == entry.name == name.lower() for name, entry in SOCS.items())
    assert len({entry.model for entry in SOCS.values()}) == len(SOCS)
    assert {entry.arch for entry in SOCS.values()} <= set(ARCHS)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=re.escape("unknown SoC 'sm9999'; known: sm8350, ")):
        soc("sm9999")
