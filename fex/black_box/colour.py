"""Colours of a network's normalisation."""

from collections.abc import Sequence

__all__ = ["LUMA", "Colour", "as_colour", "check_scale"]


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


def check_scale(mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuses what cannot be mean and std of pixels in [0, 1].

    Networks of [-1, 1] have 0.5 and 0.5, of 0 ... 255 a std of 1 / 255, of pixels as they are 0 and 1; the bounds leave
    room around these, but none for pixels up to 255.

    Raises:
        ValueError: a std that is not above 0; one or a mean far outside.
    """
    if not all(each > 0 for each in std):
        raise ValueError(f"std needs values, std > 0; got {tuple(std)}.")
    if not all(-1 <= each <= 2 for each in mean) or max(std) > 2:
        raise ValueError(
            f"Got mean {tuple(mean)} and std {tuple(std)}, but mean and std are of pixels in [0, 1]: divide them by "
            "255 (and where the network takes pixels of 0 ... 255, a std of 1 is 1 / 255)."
        )
