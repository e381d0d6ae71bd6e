"""What `fex-explain` says of a run beside its results, and what the results depend on."""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import yaml

from fex import __version__
from fex.benchmark.fingerprint import code_fingerprint, fingerprint, referenced_files
from fex.cli.explain.black_box_argument import is_config
from fex.explanations.agreement import told_agreement
from fex.storage.resources import config_path, manifest

__all__ = ["own_class_note", "resume_settings", "run_note", "tell_earlier_results", "text_key"]


def own_class_note(explainer: Any, box: Any, arguments: argparse.Namespace) -> str:
    """What to know where a trained explainer chooses the classes by itself; "" where it does not."""
    spent = arguments.refine_total is not None  # the box is asked about some inputs alone
    if (box is not None and not spent) or arguments.target is not None or arguments.method:
        return ""
    if spent:
        return f"where nothing was refined, the explainer chose the class: {told_agreement(explainer.agreement)}"
    name = explainer.black_box if manifest().get(explainer.black_box, {}).get("kind") == "black_box" else "NAME"
    return (
        f"the explainer chose the classes by itself: {told_agreement(explainer.agreement)} "
        f"(--black-box {name} asks the box, one query an input)"
    )


def run_note(explainer: Any, arguments: argparse.Namespace, note: str) -> str:
    """The line under the heading of a gallery; `note` is what there is to know of the classes."""
    named = f"{explainer.method} explains {explainer.black_box} · {explainer.removal} removal · {arguments.checkpoint}"
    return f"{named} · {note}" if note else named


def tell_earlier_results(output: Path, stays: str = "") -> None:
    """Says so, to standard error, where a folder has results of an earlier run; `stays` names what is left of them."""
    if (output / "explanations.csv").exists() or (output / "explanations.jsonl").exists():
        stays = f", {stays}" if stays else ""
        print(
            f"fex-explain: {output} has results of an earlier run: table and gallery are written anew{stays}. Give "
            "a new --output to keep runs apart.",
            file=sys.stderr,
        )


def resume_settings(arguments: argparse.Namespace, checkpoint: Any, box: Any) -> dict[str, Any]:
    """Plain data on which the results depend, the inputs themselves left out.

    Args:
        arguments: of the command line.
        checkpoint: weights and description of a trained explainer; None for a method of queries.
        box: the black box, where one is asked.
    """
    named = [arguments.black_box, (arguments.backbone or "").partition("=")[2] or arguments.backbone]
    found = {
        key: getattr(arguments, key)
        for key in (
            "method", "budget", "backbone", "target", "top_k", "formats", "black_box",
            "column", "pair_column", "window", "refine", "check", "until_fidelity", "refine_total", "precision",
            "no_gallery",
        )
    }  # fmt: skip
    return {
        **found,
        "checkpoint": None if checkpoint is None else fingerprint(list(checkpoint)),
        "files of --black-box and --backbone": [_config_of(arguments.black_box), referenced_files(named)],
        "weights of --black-box": None if box is None else box.digest(),
        "version": [__version__, code_fingerprint()],
    }


def _config_of(name: str | None) -> Any:
    """Content of a YAML file of a black box, and hashes of the files that it names."""
    if name is None or not is_config(name):
        return None
    content = config_path(name).read_text(encoding="utf-8")
    return [hashlib.sha256(content.encode()).hexdigest(), referenced_files(yaml.safe_load(content))]


def text_key(record: Any) -> list[str]:
    """What tells a text from others: its name and a hash of its content."""
    content = repr((record.text, record.error)).encode("utf-8", "backslashreplace")
    return [record.name, hashlib.sha256(content).hexdigest()]
