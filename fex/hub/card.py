"""The card of a trained explainer, written from its checkpoint."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fex import __version__
from fex.explanations.agreement import Agreement, told_agreement
from fex.storage.names import on_one_line
from fex.storage.resources import manifest

__all__ = ["model_card"]

LARGEST = 2**28  # bytes of a report


def model_card(
    meta: Mapping[str, Any],
    repository: str,
    *,
    digest: str,
    data: str = "",
    report: str | Path | None = None,
    license: str | None = None,  # noqa: A002 the hub's word
    box_license: str = "",
    data_license: str = "",
) -> str:
    """Markdown with the hub's fields in front: what the explainer explains, how it was trained, how good it is.

    Args:
        meta: description of the checkpoint.
        repository: owner/name.
        digest: SHA-256 of its weights file.
        data: what it was trained on.
        report: `report.json` of a `fex-bench run` that scored it, whose intervals the card repeats.
        license: of the weights, as the hub abbreviates them, such as "apache-2.0"; None says nothing.
        box_license: of the black box.
        data_license: of the data.

    Raises:
        OSError: no such report.
        ValueError: a report that is none, or has no scores of such an explainer.
    """
    method, grid = meta["method"], meta.get("grid")
    facts = _facts(meta, data, digest, box_license, data_license)
    front = {
        **({"license": license} if license else {}),
        "library_name": "fex",
        "tags": ["explainability", "attribution", method.lower()],
    }
    lines = "\n".join(f"| {name} | {_cell(value)} |" for name, value in facts.items())
    scores = "Not scored yet." if report is None else _scores(_rows(Path(report), method))
    return f"""---
{yaml.safe_dump(front, sort_keys=False).strip()}
---

# {_cell(repository)}

Which parts of an input count for the answer of {_cell(meta["black_box"])}, from one pass of a network ({_cell(method)}), without asking it.

```python
import fex

explainer = fex.load_explainer("hf://{repository}")
explainer.explain({'"a text"' if grid is None else '"photo.jpg"'}, top_k=2).save("explained")
```

| | |
| --- | --- |
{lines}

## Scores

{scores}

A map says what the black box reacts to, not what is true of the world. Its own choice of class need not be the black box's: see *Agreement*.
"""  # noqa: E501 paragraphs of a page


def _facts(meta: Mapping[str, Any], data: str, digest: str, box_license: str, data_license: str) -> dict[str, Any]:
    """The rows of the card's table."""
    known = manifest().get(meta["black_box"], {})
    cost, grid, names = meta.get("training") or {}, meta.get("grid"), meta["class_names"]
    return {
        "Explains": meta["black_box"],
        "SHA-256 of the black box": _box_digest(meta, known.get("sha256")),
        "Licence of the black box": box_license or "not said",
        "Method": meta["method"],
        **_trunk(meta),
        "Features": f"{grid[0]} x {grid[1]} patches" if grid else "tokens",
        "Removal": meta["removal"],
        "Classes": f"{len(names)}: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}",
        "Data": data or known.get("data", "") or "not said",
        "Licence of the data": data_license or "not said",
        "Queries of its training": f"{cost['queries']:,}" if "queries" in cost else "not known",
        "Agreement": told_agreement(Agreement.of(meta.get("agreement"))),
        "SHA-256 of explainer.safetensors": digest,
        "Written by": f"fex {__version__}",
    }


def _trunk(meta: Mapping[str, Any]) -> dict[str, str]:
    """What the file leaves out, if anything."""
    if "trunk" not in meta:
        return {}
    model = meta["net"]["encoder"]["init_args"]["model"]
    return {"Stands on": f"timm's {model}, whose weights are not in the file: they come from timm's hub, or `backbone`"}


def _box_digest(meta: Mapping[str, Any], shipped: str | None) -> str:
    """By which the box is known again; `fex.load_black_box(...).digest()` says it of any."""
    own = meta.get("black_box_sha256")
    if own is not None:
        return f"{own} (`digest()` of the box that was asked)"
    return f"{shipped} (the shipped file)" if shipped else "not known"


def _cell(value: Any) -> str:
    return on_one_line(str(value)).replace("|", "\\|").replace("<", "&lt;")


def _rows(path: Path, method: str) -> list[Mapping[str, Any]]:
    """The rows of a report that scored the explainer."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is no report of fex-bench: it has more than {LARGEST:,} bytes.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["rows"]
        rows = [row for row in found if row["method"] == method and row["value"] is not None]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no report.json of fex-bench ({type(error).__name__}: {error}).") from error
    if not rows:
        known = ", ".join(sorted({str(row["method"]) for row in found})) or "none"
        raise ValueError(f"{path} has no scores of a method named {method!r}, only of: {known}.")
    return rows


def _scores(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| protocol | score | value [95 % interval] | inputs |", "| --- | --- | ---: | ---: |"]
    for row in rows:
        low, high = row.get("ci95") or (None, None)
        interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
        lines.append(
            f"| {_cell(row['protocol'])} | {_cell(row['metric'])} | {row['value']:.3f}{interval} | {row.get('n', '')} |"
        )
    return "\n".join(lines)
