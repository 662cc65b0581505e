"""Numbers in sentences."""

from persondet.wording import counted, shown


def test_counted():
    assert counted(1, "picture") == "1 picture"
    assert [counted(number, "picture") for number in (0, 2)] == ["0 pictures", "2 pictures"]
    assert counted(3, "box") == "3 boxes"


def test_a_value_of_a_file_is_shown_as_its_author_wrote_it():
    assert shown({"a": True, "b": None}) == '{"a": true, "b": null}'
    assert shown("\u00e9") == '"\u00e9"'
    assert shown([0] * 100) == "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,..."
