"""Results of a run over many instances, each a file of its own: what is finished stays finished."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fex.atomic import replacing
from fex.explanation import Explanation
from fex.features import PatchGrid
from fex.report.folder import ResultFolder, inside, result_path

__all__ = ["InstanceStore", "is_instance_store"]

_SETTINGS, _INSTANCES = "settings.json", "instances"


def is_instance_store(folder: str | Path) -> bool:
    """Whether a folder is that of such a run: its pictures are results, not data."""
    return (Path(folder) / _SETTINGS).is_file() and (Path(folder) / _INSTANCES).is_dir()


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
        path, text = self.folder / _SETTINGS, json.dumps(dict(settings), indent=1, sort_keys=True)
        if path.is_file() and path.read_text() != text:
            old, new = json.loads(path.read_text()), json.loads(text)
            changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
            raise ValueError(
                f"{self.folder} holds results of other settings ({', '.join(changed)} differ): set another `output`, "
                "or remove that folder."
            )
        with replacing(path) as part:
            part.write_text(text)
        (self.folder / _INSTANCES).mkdir(exist_ok=True)

    def _path(self, name: str) -> Path:
        stem = result_path(inside(name), 1, 1)
        return self.folder / _INSTANCES / stem.with_name(f"{stem.name}.npz")

    def finished(self, name: str, key: str) -> bool:
        """Whether an instance of that name and content is here.

        Raises:
            ValueError: one of that name and another content is.
        """
        path = self._path(name)
        if not path.is_file():
            return False
        with np.load(path) as data:
            found = json.loads(str(data["meta"])).get("key")
        if found != key:
            raise ValueError(
                f"{path} is the result of another input, label or mask of the name {name!r}: set another `output`, or "
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
        meta = {**explanation._meta(), "name": name, "order": order, "key": key}
        stem = result_path(inside(name), 1, 1)
        explanation.save(self.folder / stem.with_name(f"{stem.name}.png"))
        with replacing(self._path(name)) as part, part.open("wb") as file:
            extra = {f"extra/{key}": value for key, value in arrays.items()}
            np.savez(file, attribution=explanation.grid, picture=picture, meta=np.array(json.dumps(meta)), **extra)

    def paths(self) -> Iterator[Path]:
        """Files of all finished instances, `names` or not."""
        return (self.folder / _INSTANCES).rglob("*.npz")

    def __iter__(self) -> Iterator[tuple[str, Explanation, dict[str, np.ndarray]]]:
        """Name, explanation and arrays of the finished instances, in order; one in memory at a time."""
        files = []
        for path in self.paths():
            with np.load(path) as data:
                meta = json.loads(str(data["meta"]))
            if self.names is None or meta["name"] in self.names:
                files.append((meta["order"], str(path)))
        for _, path_name in sorted(files):
            with np.load(path_name) as data:
                meta = json.loads(str(data["meta"]))
                extra = {key.removeprefix("extra/"): data[key] for key in data.files if key.startswith("extra/")}
                explanation = Explanation(
                    attribution=torch.from_numpy(data["attribution"]).flatten(),
                    features=PatchGrid(meta["features"]["height"], meta["features"]["width"]),
                    size=(meta["size"][0], meta["size"][1]),
                    target=meta["target"]["index"],
                    target_name=meta["target"]["name"],
                    image=torch.from_numpy(data["picture"]).float() / 255,
                    **{
                        key: meta[key]
                        for key in (
                            "probability", "probability_of", "method", "removal", "black_box", "queries", "seconds",
                            "source",
                        )
                    },
                    chosen_by=meta.get("class_chosen_by"),
                )  # fmt: skip
            yield meta["name"], explanation, extra

    def report(self, title: str) -> int:
        """Writes the table and the gallery of all finished instances; returns their number."""
        count = 0
        with ResultFolder(self.folder, formats=("png",), title=title) as results:
            for name, explanation, _ in self:
                results.add(results.write(inside(name), [explanation]))
                count += 1
        return count
