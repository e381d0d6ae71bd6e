"""Which data module reads what a user gives, as a config names it."""

from pathlib import Path
from typing import Any

from fex.images import IMAGE_SUFFIXES
from fex.texts import TEXT_SUFFIXES

__all__ = ["data_spec_of", "holds_texts"]

PARTS = {"train": ("train",), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}


def holds_texts(path: Path) -> bool:
    """Whether a path is a file of texts, or a folder with such files and no pictures."""
    if path.is_file():
        return path.name.lower().endswith(TEXT_SUFFIXES)
    names = [each.name.lower() for pattern in ("*", "*/*") for each in path.glob(pattern)]
    return any(name.endswith(TEXT_SUFFIXES) for name in names) and not any(
        name.endswith(IMAGE_SUFFIXES) for name in names
    )


def data_spec_of(data: Any, *, texts: bool) -> dict[str, Any]:
    """`class_path` and `init_args` of the data module.

    Args:
        data: path of pictures or texts, or, from Python, a list, a tensor, a data set or a loader.
        texts: whether the box takes texts.

    Raises:
        FileNotFoundError: nothing at that path.
        ValueError: data of the other kind.
    """
    if not isinstance(data, str | Path):
        if texts and not (isinstance(data, list | tuple) and all(isinstance(each, str | tuple) for each in data)):
            raise ValueError(
                f"The black box takes texts, got a {type(data).__name__}: give a list of texts, or a file."
            )
        where = {"class_path": "datamodules.Sentences", "init_args": {"texts": list(data)}} if texts else None
        return where or {"class_path": "datamodules.Pictures", "init_args": {"items": data}}
    path = Path(data)
    if not path.exists():
        raise FileNotFoundError(f"There is nothing at {str(data)!r}: give a folder of pictures, or texts.")
    if texts != holds_texts(path):
        raise ValueError(
            f"{str(data)!r} holds {'no texts' if texts else 'texts'}, the black box takes "
            f"{'texts' if texts else 'pictures'}: give a folder of those."
        )
    if not texts:
        if path.is_file():
            raise ValueError(f"{str(data)!r} is a file: give a folder of pictures.")
        return {"class_path": "datamodules.Folder", "init_args": {"root": str(data)}}
    return {"class_path": "datamodules.Texts", "init_args": _text_parts(path)}


def _text_parts(path: Path) -> dict[str, Any]:
    """Files by part, as their names say; all are training texts where they say nothing."""
    if path.is_file():
        return {"train": str(path)}
    files = sorted(each for each in path.iterdir() if each.name.lower().endswith(TEXT_SUFFIXES))
    if not files:  # folders of classes
        return {"train": str(path)}
    parts = {
        part: next((str(each) for each in files if each.stem.lower() in names), None) for part, names in PARTS.items()
    }
    if parts["train"] is not None:
        return {part: name for part, name in parts.items() if name is not None}
    return {"train": [str(each) for each in files]}
