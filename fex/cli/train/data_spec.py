"""Which data module reads what a user gives, as a config names it."""

from itertools import islice
from pathlib import Path
from typing import Any

from fex.cli.train.recipe import built
from fex.images import IMAGE_SUFFIXES
from fex.sounds import AUDIO_SUFFIXES, LogMel, UnreadableAudioError, read_audio
from fex.texts import TEXT_SUFFIXES

__all__ = ["built_data", "data_spec_of", "holds_sounds", "holds_texts", "spectrogram_size"]

LOOKED_AT = 50  # clips, for the length of all
PARTS = {"train": ("train",), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}


def _holds(path: Path, suffixes: tuple[str, ...]) -> bool:
    return any(each.name.lower().endswith(suffixes) for pattern in ("*", "*/*") for each in path.glob(pattern))


def holds_texts(path: Path) -> bool:
    """Whether a path is a file of texts, or a folder with such files and neither pictures nor sounds."""
    if path.is_file():
        return path.name.lower().endswith(TEXT_SUFFIXES)
    return _holds(path, TEXT_SUFFIXES) and not _holds(path, (*IMAGE_SUFFIXES, *AUDIO_SUFFIXES))


def holds_sounds(path: Path) -> bool:
    """Whether a path is a folder with sounds and no pictures."""
    return path.is_dir() and _holds(path, AUDIO_SUFFIXES) and not _holds(path, IMAGE_SUFFIXES)


def spectrogram_size(path: Path) -> dict[str, int]:
    """Bands and frames of the clips in a folder, as those of `LogMel` as it is: as long as the longest of the first.

    Raises:
        ImportError: the extra `audio` is not installed.
        ValueError: none of the first can be read.
    """
    files = (each for each in sorted(path.rglob("*")) if each.name.lower().endswith(AUDIO_SUFFIXES))
    log_mel, longest, reason = LogMel(), 0, ""
    for file in islice(files, LOOKED_AT):
        try:
            longest = max(longest, len(read_audio(file, log_mel.sample_rate)))
        except UnreadableAudioError as error:
            reason = reason or f"{file.name}: {error}"
    if not longest:
        raise ValueError(f"None of the first sounds in {path} can be read ({reason}).")
    return {"height": log_mel.mels, "width": log_mel.frames(longest)}


def built_data(spec: dict[str, Any], preprocess: Any, **options: Any) -> Any:
    """The data module of a spec."""
    given = {**spec["init_args"], "preprocess": preprocess, **options}
    given |= {"log_mel": LogMel(**given["log_mel"])} if "log_mel" in given else {}
    return built({**spec, "init_args": given})


def data_spec_of(data: Any, *, texts: bool, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """`class_path` and `init_args` of the data module, plain data where `data` is a path.

    Args:
        data: path of pictures, texts or sounds, or, from Python, a list, a tensor, a data set or a loader.
        texts: whether the box takes texts.
        size: (height, width) of the box's pictures; of sounds, mel bands and frames.

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
        raise FileNotFoundError(f"There is nothing at {str(data)!r}: give a folder of pictures or sounds, or texts.")
    if texts != holds_texts(path):
        raise ValueError(
            f"{str(data)!r} holds {'no texts' if texts else 'texts'}, the black box takes "
            f"{'texts' if texts else 'pictures'}: give a folder of those."
        )
    if not texts and size is not None and holds_sounds(path):
        return _sounds(path, size)
    if not texts:
        if path.is_file():
            raise ValueError(f"{str(data)!r} is a file: give a folder of pictures or sounds.")
        return {"class_path": "datamodules.Folder", "init_args": {"root": str(data)}}
    return {"class_path": "datamodules.Texts", "init_args": _text_parts(path)}


def _sounds(path: Path, size: tuple[int, int]) -> dict[str, Any]:
    """The data module of clips whose spectrograms have this size."""
    log_mel = LogMel(mels=size[0])
    samples = (size[1] - 1) * log_mel.hop
    made = {key: getattr(log_mel, key) for key in ("sample_rate", "n_fft", "hop", "mels")}
    given = {"root": str(path), "seconds": samples / log_mel.sample_rate, "log_mel": made}
    if (path / "meta" / "esc50.csv").is_file() or (path / "meta.csv").is_file():
        noisy = size[1] == log_mel.frames(11 * log_mel.sample_rate)  # 5 s between 6 s of noise, its usual way
        own = {"seconds": 5.0} if noisy else {"padding": None}
        return {"class_path": "datamodules.ESC10", "init_args": {**given, **own}}
    labels = {} if (path / "labels.csv").is_file() else {"labels": None}
    return {"class_path": "datamodules.SoundFolder", "init_args": {**given, "event": None, **labels}}


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
