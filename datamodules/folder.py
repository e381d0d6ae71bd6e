"""Any folder of images."""

import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datamodules.images import ImageDataModule
from datamodules.order import held_back
from datamodules.packed_names import FolderTable, Listing, class_of
from datamodules.rows import PictureRow, PictureRows
from datamodules.skips import check_readable
from fex.images import IMAGE_SUFFIXES, decode, passed_over
from fex.storage.instance_folder import is_instance_store

__all__ = ["Folder", "FolderStream", "FolderTable", "iter_images"]

log = logging.getLogger("datamodules")
_VAL_NAMES = ("val", "valid", "validation")


def iter_images(root: str | os.PathLike[str]) -> Iterator[str]:
    """Paths of the images below `root`, relative to it, with "/"; in the file system's order and in constant memory.

    Follows symbolic links (but no loops) and passes over hidden files and folders, over those that systems leave behind
    (``__MACOSX``), and over the results of a run that explains instances: with `root` above its `output` it would
    explain its own pictures.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
    """
    top = Path(root)
    if not top.exists():
        raise FileNotFoundError(f"There is no folder {str(top)!r}: set `root` to a folder of images.")
    if not top.is_dir():
        raise NotADirectoryError(f"{str(top)!r} is a file: set `root` to a folder of images.")

    def walk(folder: str, prefix: str, above: frozenset[str]) -> Iterator[str]:
        real = os.path.realpath(folder)
        if real in above or is_instance_store(folder):
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if passed_over(entry.name):
                    continue
                if entry.is_dir():
                    yield from walk(entry.path, f"{prefix}{entry.name}/", above | {real})
                elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                    yield prefix + entry.name

    return walk(str(top), "", frozenset())


class FolderStream:
    """All images below a folder, found while they are read: any number of them in constant memory, for prediction.

    An image goes to the shard that its name hashes to, so that shards agree even if their file systems list the
    files in different orders; they are nearly, not exactly, of one size.

    Args:
        root: the folder.
        labels: of the first level's folders; None for images without labels.
    """

    length = None
    parts = 1
    parallel = True

    def __init__(self, root: str | os.PathLike[str], labels: Mapping[str, int] | None = None) -> None:
        self.root, self.labels = str(root), labels

    def _label(self, name: str) -> int | None:
        return None if self.labels is None else self.labels[class_of(name)]

    def deal(self, shard: int, shards: int) -> Iterator[tuple[int, PictureRow]]:
        """See `StreamSource`; the number is unique among the shards, but does not count the files."""
        count, found = 0, False
        for name in iter_images(self.root):
            found = True
            if zlib.crc32(os.fsencode(name)) % shards == shard:
                yield count * shards + shard, PictureRow(os.path.join(self.root, name), self._label(name), name)
                count += 1
        if not found:
            raise _no_images(self.root)

    def shuffled(self, shard: int, shards: int, epoch: int) -> Iterator[PictureRow]:
        """Not for training."""
        raise ValueError("A folder is streamed for prediction only: training needs its index.")


def _no_images(root: str | os.PathLike[str]) -> FileNotFoundError:
    kinds = " ".join(IMAGE_SUFFIXES)
    return FileNotFoundError(f"Found no images in {str(root)!r}: it should hold files ending in {kinds}.")


def _listed(root: Path) -> Listing:
    names = sorted(iter_images(root))
    if not names:
        raise _no_images(root)
    return Listing(root, names)


class Folder(ImageDataModule):
    """A folder of images in one of three layouts.

    - ``train/``, perhaps ``val/`` and ``test/``, each of one of the next two. Without ``test/``, ``val/`` is the test
      data too; without ``val/``, `val_fraction` of ``train/`` is held back.
    - a folder a class (at any depth below it: the first level counts).
    - images without classes; then batches have no labels.

    Without ``train/``, one permutation of the sorted relative paths, seeded by `split_seed`, splits the images; it is
    the same on every machine, and another one as soon as a file is added. Predicting streams all images below the root
    in no particular order, in constant memory, with labels only where `labels` is true and the root has nothing but
    class folders; ``batch["names"]`` tells which they are. Unreadable images are counted,
    the first few are logged by name, and their rows are black with valid = False.

    Args:
        root: the folder.
        val_fraction: share of the images held back for validation.
        test_fraction: share held back for the test; only without ``train/``. With 1, and `val_fraction` 0, all images
            are test data.
        labels: whether folders are classes; by default if all images are in folders and there are at least two folders.
        split_seed: seed of the split.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        root: str,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        *,
        labels: bool | None = None,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.labels, self.split_seed = root, labels, split_seed
        self.fractions = {"val": val_fraction, "test": test_fraction}

    def label_names(self, names: list[str]) -> list[str] | None:
        """Class names in label order from the images' paths, or None if they have no classes."""
        found = sorted({class_of(name) for name in names})
        if self.labels is False or (self.labels is None and ("" in found or len(found) < 2)):
            return None
        if "" in found:
            stray = next(name for name in names if "/" not in name)
            raise ValueError(
                f"labels=True wants a folder a class, but {stray!r} lies directly in {self.root!r}: move it into the "
                "folder of its class, or set labels to false."
            )
        return found

    def folder_label(self, folder: str, class_names: list[str]) -> int:
        """Label of a class folder."""
        if folder not in class_names:
            raise ValueError(
                f"Class folder {folder!r} is not among the training classes {class_names[:10]}: rename or remove it."
            )
        return class_names.index(folder)

    def _named_classes(self, listing: Listing) -> list[str] | None:
        """Class names; tells folders that look like a class and have no image, without which the others are counted."""
        found = self.label_names(list(listing.folders.values()))
        if found is not None:
            with os.scandir(listing.root) as entries:
                rest = (
                    e.name for e in entries if e.is_dir() and not passed_over(e.name) and not is_instance_store(e.path)
                )
                empty = sorted(set(rest) - listing.folders.keys())
            if empty:
                log.warning(
                    "%s in %s hold no images and are no classes: labels count the other folders only. If the black box "
                    "knows such a class, its numbers differ from those of the labels.",
                    ", ".join(map(repr, empty[:5])), listing.root,
                )  # fmt: skip
        return found

    def _table(self, listing: Listing) -> FolderTable:
        labels = None
        if self.class_names is not None:
            labels = listing.each([self.folder_label(folder, self.class_names) for folder in listing.folders])
        return FolderTable(listing.root, listing.names, labels)

    def _set_split(self, listing: Listing, stages: dict[str, float]) -> None:
        table = self._table(listing)
        for stage, rows in held_back(len(table), stages, self.split_seed).items():
            if rows:
                self.datasets[stage] = PictureRows(table, self.preprocess, rows)

    def _stream_labels(self) -> dict[str, int] | None:
        """Labels by class folder, without listing the images; None where the root is not all class folders."""
        folders = []
        for entry in os.scandir(self.root):
            if entry.is_dir() and not passed_over(entry.name):
                folders.append(entry.name)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                return None
        if not folders or "train" in folders:
            return None
        try:
            self.class_names = self.label_names([f"{folder}/" for folder in sorted(folders)])
            return {folder: self.folder_label(folder, self.class_names or []) for folder in folders}
        except ValueError:  # photographs of anything, to be explained
            return None

    def setup(self, stage: str) -> None:
        """Lists the folder, once; predicting does not."""
        if stage == "predict":
            iter_images(self.root)  # a missing folder is told here: a loader's process would tell it with its traceback
            self.datasets["predict"] = FolderStream(self.root, self._stream_labels() if self.labels else None)
            return
        if "train" in self.datasets:
            return
        root = Path(self.root)
        listing = _listed(root / "train" if (root / "train").is_dir() else root)
        check_readable(listing.root, listing.names, decode, "images")
        self.class_names = self._named_classes(listing)
        if listing.root == root:
            self._set_split(listing, self.fractions)
            if stage == "test" and "test" in self.datasets and len(self.datasets["test"]) < len(listing.names):
                # Whoever scores an explainer on photographs of their own trains nothing on the others.
                log.warning(
                    "%s of the %s images in %s are the test data (test_fraction: %g); for all of them set "
                    "test_fraction to 1 and val_fraction to 0.",
                    f"{len(self.datasets['test']):,}", f"{len(listing.names):,}", root, self.fractions["test"],
                )  # fmt: skip
            return
        val = next((name for name in _VAL_NAMES if (root / name).is_dir()), None)
        self._set_split(listing, {} if val else {"val": self.fractions["val"]})
        test = "test" if (root / "test").is_dir() else val
        for part, folder in (("val", val), ("test", test)):
            if folder is not None:
                self.datasets[part] = PictureRows(self._table(_listed(root / folder)), self.preprocess)
