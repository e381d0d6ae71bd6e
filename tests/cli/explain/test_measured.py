"""What the terminal says of fidelities: with intervals, and no firmer than they are."""

from fex.cli.explain.measured import Measured


def said(*fidelities):
    found = Measured()
    for number, each in enumerate(fidelities):
        found.add(f"{number}.png", each)
    assert Measured.of(found.to_dict()) == found
    return found.told()


def test_few_queries_are_told_as_such():
    text = said([-0.1, -0.6, 0.7, 8.0], [0.4, 0.1, 0.8, 8.0])
    assert "fidelity of 2 maps, by 8 queries" in text
    assert "0.png -0.10 [-0.60, 0.70], 1.png 0.40 [0.10, 0.80]" in text
    assert "may foretell no more than that number does (the interval holds 0): 1" in text
    assert "foretell less" not in text
    assert "so few queries tell it roughly: 32 halve the intervals" in text


def test_what_is_sure_is_told_as_sure():
    text = said([-0.3, -0.4, -0.2, 64.0], [0.9, 0.8, 0.95, 64.0])
    assert "maps that foretell less than the number of removed features does: 1" in text
    assert "may foretell" not in text
    assert "roughly" not in text


def test_nothing_asked_and_nothing_learnt():
    assert said(None, None) == ""
    assert said("few", "few") == "\nmaps whose fidelity is unknown, since it takes 4 queries at least: 2"
    assert said("alike") == "\nmaps whose fidelity is unknown, since the answers hardly differ: 1"
