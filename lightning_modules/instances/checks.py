"""What data, black box and a run over instances must agree in, before anything is asked."""

from typing import Any

from fex.black_box import BlackBox
from fex.black_box.classes import are_named
from fex.sounds import LogMel

__all__ = ["check_classes", "check_sound"]


def check_sound(sound: LogMel | None, data: Any) -> None:
    """A spectrogram read as another one makes a sound of another length, with the mask elsewhere.

    Args:
        sound: how the run reads spectrograms.
        data: datamodule, whose `log_mel` says how they were made, where it has one.

    Raises:
        ValueError: the two differ.
    """
    made = getattr(data, "log_mel", sound)
    if sound is not None and made != sound:
        raise ValueError(
            f"The data makes its spectrograms by {made}, the module reads them by sound={sound}: give "
            "`model.init_args.sound` what `data.init_args.log_mel` has."
        )


def check_classes(black_box: BlackBox, data: Any) -> None:
    """Labels are compared with the box's answers by number: both must count the same classes.

    Args:
        black_box: whose classes have names, or are only numbered.
        data: datamodule, which may have `class_names`.

    Raises:
        ValueError: both have names, and they differ.
    """
    own, names = black_box.class_names, getattr(data, "class_names", None)
    if names is None or not are_named(own) or list(names) == own:
        return
    pairs = enumerate(zip(names, own, strict=False))
    first = next((number for number, (a, b) in pairs if a != b), min(len(names), len(own)))
    raise ValueError(
        f"The labels of the data are {len(names)} classes, those of black box {black_box.name!r} "
        f"{len(own)}, and they differ from class {first} on: {list(names)[first : first + 3]} against "
        f"{own[first : first + 3]}. Give both the same `class_names`, in the box's order, or explain the "
        "`predicted` class of `all` instances, which needs no labels."
    )
