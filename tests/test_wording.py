"""Numbers in sentences."""

from persondet.wording import counted


def test_counted():
    assert counted(1, "picture") == "1 picture"
    assert [counted(number, "picture") for number in (0, 2)] == ["0 pictures", "2 pictures"]
    assert counted(3, "box") == "3 boxes"
