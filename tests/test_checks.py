import pytest

from fex.checks import differences


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 2]}}, []),
        ({"a": 1, "b": {"c": 2}}, {"a": 3, "b": {"c": 4}},
         ["net.a is 1 there and 3 here", "net.b.c is 2 there and 4 here"]),
        ({"a": None}, {"b": "x"}, ["net.b is None there and 'x' here"]),
        ([1, 2, 3], [1, 5, 6], ["net[1] is 2 there and 5 here"]),
        (["a"], ["a", "b"], ["net has 1 entries there and 2 here"]),
        ({"a": {"b": 1}}, {"a": 7}, ["net.a is {'b': 1} there and 7 here"]),
    ],
)  # fmt: skip
def test_what_differs_is_named_by_its_path(there, here, expected):
    assert differences("net", there, here) == expected
