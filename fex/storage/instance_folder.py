"""The folder of a run that explains many instances."""

from pathlib import Path

__all__ = ["INSTANCES", "SETTINGS", "is_instance_store"]

SETTINGS, INSTANCES = "settings.json", "instances"


def is_instance_store(folder: str | Path) -> bool:
    """Whether a folder is that of such a run: its pictures are results, not data."""
    return (Path(folder) / SETTINGS).is_file() and (Path(folder) / INSTANCES).is_dir()
