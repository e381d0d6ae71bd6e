"""Class names that contradict each other, and those that only differ."""

import pytest

from fex.black_box.classes import are_named, misplaced


@pytest.mark.parametrize(
    ("own", "other", "found"),
    [
        (["cat", "dog"], ["cat", "dog"], None),
        (["cat", "dog"], ["dog", "cat"], "cat"),
        (["Cat", "Dog"], ["cat", "dog"], None),
        (["cat", "dog"], ["Katze", "Hund"], None),
        (["cat", "dog"], ["0", "1"], None),
        (["crane", "drum", "crane"], ["crane", "drum", "crane"], None),
        (["crane", "drum", "crane"], ["drum", "crane", "crane"], "crane"),
        (["cat", "dog", "bird"], ["cat", "bird"], "bird"),
    ],
)
def test_misplaced(own, other, found):
    assert misplaced(own, other) == found


def test_numbers_are_no_names():
    assert not are_named(["0", "1"])
    assert are_named(["1", "0"])
