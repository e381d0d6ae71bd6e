"""What the results of a run over instances depend on: a run with other settings does not go on in its folder."""

import json
from pathlib import Path
from typing import Any

from fex.benchmark.fingerprint import code_fingerprint, fingerprint, referenced_files
from fex.benchmark.settings import library_versions, plain_settings
from fex.types import Batch

__all__ = ["instance_keys", "run_settings"]


def run_settings(explainer: Any, module: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Plain data of all that the instances of a run share.

    Args:
        explainer: has a `black_box`.
        module: class that runs it.
        arguments: further settings, as JSON can say them.
    """
    (plain_explainer, plain_module), sources = plain_settings([explainer, module])
    settings = {
        "explainer": plain_explainer,
        "module": plain_module,
        "weights": explainer.black_box.digest(),
        "code": code_fingerprint(),
        "code of lightning_modules": _code(),
        **{f"source of {name}": found for name, found in sources.items()},
        **{f"version of {name}": version for name, version in library_versions().items()},
        **arguments,
    }
    return json.loads(json.dumps(settings))


def instance_keys(batch: Batch) -> list[str]:
    """What the result of each instance depends on beside the settings."""
    parts = [batch[key] for key in ("inputs", "labels", "masks", "ignored") if key in batch]  # type: ignore[literal-required]
    return [fingerprint([part[row] for part in parts]) for row in range(len(batch["inputs"]))]


def _code() -> str:
    """Hash of the sources of this package that results may depend on: not of its callbacks."""
    root = Path(__file__).parents[1]
    found = referenced_files(sorted([*root.glob("*.py"), *root.glob("instances/*.py")]))
    return fingerprint({Path(path).relative_to(root).as_posix(): content for path, content in found.items()})
