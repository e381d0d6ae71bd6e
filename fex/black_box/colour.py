"""Colours of a network's normalisation."""

from collections.abc import Sequence

__all__ = ["LUMA", "Colour", "as_colour"]


Colour = float | Sequence[float]


LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as PIL's grey pictures


def as_colour(value: Colour, name: str = "colour", channels: int | None = None) -> tuple[float, ...]:
    """A colour given by a value a channel, or by one for all, as a float or a list of one.

    Args:
        value: the colour.
        name: what it is, for the error.
        channels: how many there must be; None takes what is given, and three for a single value.

    Raises:
        ValueError: another number of them.
    """
    values = [float(value)] if isinstance(value, int | float) else [float(one) for one in value]
    values = values * (channels or 3) if len(values) == 1 else values
    if not values or (channels or len(values)) != len(values):
        wanted = "three values (RGB)" if channels == 3 else f"{channels or 'some'} values"
        raise ValueError(f"{name} needs {wanted} or one for all channels; got {value}.")
    return tuple(values)
