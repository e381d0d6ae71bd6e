"""Results of a run over many instances, each a file of its own: what is finished stays finished."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fex.explanations import Explanation
from fex.images import PatchGrid
from fex.report.folder import ResultFolder, inside, result_path
from fex.storage.array_files import load_arrays, save_arrays
from fex.storage.atomic import replacing
from fex.storage.instance_folder import INSTANCES, SETTINGS

__all__ = ["InstanceStore"]

_KEPT = ("probability", "probability_of", "method", "removal", "black_box", "queries", "seconds", "source")
log = logging.getLogger("fex")


class InstanceStore:
    """One .npz an instance below ``folder/instances``, with its picture; the file appears whole or not at all.

    Args:
        folder: of the run; made if missing.
        settings: plain data on which the results depend. A folder of other settings is refused: its results would be
            mixed with new ones in silence.

    Attributes:
        names: those of the instances that iteration and report give; None gives all that are there.

    Raises:
        ValueError: the folder holds results of other settings.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.names: Collection[str] | None = None
        path, text = self.folder / SETTINGS, json.dumps(dict(settings), indent=1, sort_keys=True)
        self._settings = hashlib.sha256(text.encode()).hexdigest()
        if path.is_file() and path.read_bytes() != text.encode():
            self._compare(path, json.loads(text))
        with replacing(path) as part:
            part.write_text(text)
        (self.folder / INSTANCES).mkdir(exist_ok=True)

    def _compare(self, path: Path, new: dict[str, Any]) -> None:
        """Refuses other settings; what cannot be read is written anew, and each result says of which ones it is."""
        try:
            old = json.loads(path.read_bytes())
            changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        except (ValueError, AttributeError, RecursionError) as error:
            log.warning("%s cannot be read (%s): it is written anew.", path, error)
            return
        if changed:
            raise ValueError(
                f"{self.folder} holds results of other settings ({', '.join(changed)} differ): set another `output`, "
                "or remove that folder."
            )

    def _path(self, name: str) -> Path:
        stem = result_path(inside(name), 1, 1)
        return self.folder / INSTANCES / stem.with_name(f"{stem.name}.npz")

    def finished(self, name: str, key: str) -> bool:
        """Whether an instance of that name and content is here, undamaged.

        Raises:
            ValueError: one of that name and of another content or of other settings is.
        """
        path = self._path(name)
        found = load_arrays(path, _instance)
        if found is None:
            return False
        meta = found[0]
        if (meta["key"], meta["settings"]) != (key, self._settings):
            other = "input, label or mask" if meta["key"] != key else "setting"
            raise ValueError(
                f"{path} is the result of another {other} of the name {name!r}: set another `output`, or "
                "remove that folder."
            )
        return True

    def save(
        self, name: str, explanation: Explanation, arrays: Mapping[str, np.ndarray], order: int, key: str = ""
    ) -> None:
        """Writes an instance, and its picture beside it as a PNG.

        Args:
            name: of the instance, such as its file's relative path.
            explanation: with `image`.
            arrays: whatever else is to be kept.
            order: its place among the instances.
            key: fingerprint of its content, see `finished`.
        """
        assert explanation.image is not None
        picture = (explanation.image.detach().cpu().float().clamp(0, 1) * 255).round().byte().numpy()
        own = {"name": name, "order": order, "key": key, "settings": self._settings}
        stem = result_path(inside(name), 1, 1)
        explanation.save(self.folder / stem.with_name(f"{stem.name}.png"))
        extra = {f"extra/{key}": value for key, value in arrays.items()}
        found = {"attribution": explanation.grid, "picture": picture, **extra}
        save_arrays(self._path(name), {**explanation._meta(), **own}, found)

    def paths(self) -> Iterator[Path]:
        """Files of all finished instances, `names` or not."""
        return (self.folder / INSTANCES).rglob("*.npz")

    def __iter__(self) -> Iterator[tuple[str, Explanation, dict[str, np.ndarray]]]:
        """Name, explanation and arrays of the finished instances, in order; one in memory at a time."""
        files = []
        for path in self.paths():
            found = load_arrays(path, lambda meta, _: (int(meta["order"]), str(meta["name"])), only_meta=True)
            if found is not None and (self.names is None or found[1] in self.names):
                files.append((found[0], str(path)))
        for _, path_name in sorted(files):
            instance = load_arrays(path_name, _instance)
            if instance is not None:
                yield instance[0]["name"], *instance[1:]

    def report(self, title: str) -> int:
        """Writes the table and the gallery of all finished instances; returns their number."""
        count = 0
        with ResultFolder(self.folder, formats=("png",), title=title) as results:
            for name, explanation, _ in self:
                results.add(results.write(inside(name), [explanation]))
                count += 1
        return count


def _instance(
    meta: dict[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[dict[str, Any], Explanation, dict[str, np.ndarray]]:
    """Meta, explanation and further arrays of what was read; raises where that is no instance."""
    size, target = meta["size"], meta["target"]
    explanation = Explanation(
        attribution=torch.from_numpy(arrays["attribution"]).flatten(),
        features=PatchGrid(meta["features"]["height"], meta["features"]["width"]),
        size=(size[0], size[1]),
        target=target["index"],
        target_name=target["name"],
        image=torch.from_numpy(arrays["picture"]).float() / 255,
        **{key: meta[key] for key in _KEPT},
        chosen_by=meta.get("class_chosen_by"),
    )
    numbers = (meta["order"], explanation.queries, explanation.target, explanation.seconds, explanation.probability)
    kinds = ((int,), (int,), (int,), (int, float), (int, float))
    if not all(type(number) in kind for number, kind in zip(numbers, kinds, strict=True)):
        raise ValueError(f"it counts {numbers}")
    if not all(isinstance(meta[key], str) for key in ("name", "key", "settings")):
        raise ValueError("it has no name or key")
    places = explanation.features.num_features
    if explanation.image.shape != (3, *explanation.size) or arrays["attribution"].size != places:
        raise ValueError(f"its picture has the shape {tuple(explanation.image.shape)}")
    extra = {key.removeprefix("extra/"): value for key, value in arrays.items() if key.startswith("extra/")}
    return meta, explanation, extra
