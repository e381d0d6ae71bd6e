"""What the page shows of one input: maps, table, curve and fidelity, of one explainer or two side by side."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from fex.black_box.base import BlackBox
from fex.explainers.refined import Refined
from fex.explainers.trained import AmortizedExplainer
from fex.explanations.base import BaseExplanation
from fex.images.decoding import UnreadableImageError, decode
from fex.masking.masker import masker_for
from fex.metrics.functional.perturbation import perturbation_curve
from fex.report.page import render
from fex.report.text import first_pieces
from fex.texts.files import unfit

__all__ = ["HEADERS", "Trial", "Tried"]

HEADERS = ["explainer", "class", "probability", "said by", "fidelity"]
SHARES = tuple(i / 10 for i in range(10))
PIXELS = 25_000_000


@dataclass
class Tried:
    """Of one input.

    Attributes:
        pictures: map of each class, with a caption.
        pages: the same of texts, as HTML.
        rows: of the table, see `HEADERS`.
        curve: what the black box says as features go; None without a box.
        note: what to know.
    """

    pictures: list[tuple[Image.Image, str]] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    curve: Any = None
    note: str = ""


class Trial:
    """Explains what somebody gives to a page.

    Args:
        explainers: one, or two to compare, of the same inputs.
        names: what the page calls them.
        black_box: chooses the classes, and is asked for curve and fidelity.

    Raises:
        ValueError: explainers of different inputs or classes, or a box that is not theirs.
    """

    def __init__(
        self, explainers: Sequence[AmortizedExplainer], names: Sequence[str], black_box: BlackBox | None = None
    ) -> None:
        first = explainers[0]
        for other in explainers[1:]:
            if other.modality.name != first.modality.name or other.class_names != first.class_names:
                raise ValueError(f"{names[0]} and {names[1]} explain other inputs or classes: compare two of the same.")
        for explainer in explainers if black_box is not None else ():
            explainer.check_box(black_box)
        self.explainers, self.names, self.black_box = list(explainers), list(names), black_box
        self.text, self.class_names = first.modality.name == "text", first.class_names

    def __call__(self, given: str | None, classes: Sequence[str], top_k: int, queries: int) -> Tried:
        """Explains a picture's file, or a text.

        Args:
            given: path, or text.
            classes: to be explained; none are the `top_k` likeliest.
            top_k: how many of them.
            queries: of the black box, for the fidelity of each map; 0 asks none.

        Raises:
            ValueError: nothing given, or something that cannot be read.
        """
        inputs, found = self._read(given), Tried()
        lines: dict[str, torch.Tensor] = {}
        for name, explainer in zip(self.names, self.explainers, strict=True):
            chosen: list[Any] = list(classes) or [None]
            explanations = [
                each
                for target in chosen
                for each in explainer.explain(inputs, target, 1 if classes else top_k, black_box=self.black_box)
            ]
            for each in explanations:
                self._show(found, name, each, self._fidelity(explainer, inputs, each, queries))
            if self.black_box is not None:
                lines[name] = self._curve(explainer, inputs, explanations[0])
            found.note = explanations[0].doubt
        if lines:
            found.curve = _figure(lines, explanations[0].target_name)
        return found

    def _read(self, given: str | None) -> Any:
        if not given or not given.strip():
            raise ValueError(f"Give a {'text' if self.text else 'picture'} first.")
        if self.text:
            if reason := unfit(given):
                raise ValueError(f"This cannot be explained: {reason}.")
            return given
        try:
            return decode(given, most=PIXELS)
        except (UnreadableImageError, OSError) as error:
            raise ValueError(f"The picture cannot be read: {error}.") from error

    def _fidelity(self, explainer: AmortizedExplainer, inputs: Any, each: BaseExplanation, queries: int) -> str:
        if self.black_box is None or not queries:
            return "not asked"
        [checked] = Refined(explainer, self.black_box, queries=queries).check(inputs, each.target)
        return str(checked.fidelity)

    def _curve(self, explainer: AmortizedExplainer, inputs: Any, each: BaseExplanation) -> torch.Tensor:
        """The box's probability of the class as features go, (2, S): the most and the least important first."""
        assert self.black_box is not None
        reading = explainer.modality.read(inputs, explainer.preprocess)
        features, target = explainer.features, torch.tensor([each.target])
        masker = masker_for(self.black_box, features)
        scores = explainer.attribute_features(reading.inputs, target).cpu()
        rows = [
            perturbation_curve(
                self.black_box, masker, reading.inputs, scores, fractions=SHARES, order=order, measure="probability",
                target=target,
            )[0]
            for order in ("most_important_first", "least_important_first")
        ]  # fmt: skip
        return torch.stack(rows)

    def _show(self, found: Tried, name: str, each: Any, fidelity: str) -> None:
        caption = each.target_name if len(self.names) == 1 else f"{name}: {each.target_name}"
        if self.text:
            found.pages.append(render("demo/templates/text.html", caption=caption, pieces=first_pieces(each)))
        else:
            found.pictures.append((each.to_image(), caption))
        found.rows.append([name, each.target_name, f"{each.probability:.3f}", each.probability_of, fidelity])


def _figure(lines: dict[str, torch.Tensor], target: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), dpi=110, layout="constrained")
    axes = figure.add_subplot(xlabel="share of the features removed", ylabel="probability", ylim=(0, 1))
    axes.set_title(target, parse_math=False)
    short = [os.path.basename(name) for name in lines]
    names = short if len(set(short)) == len(short) else list(lines)  # two runs' last.ckpt
    for number, (name, (most, least)) in enumerate(zip(names, lines.values(), strict=True)):
        axes.plot(SHARES, most.tolist(), f"C{number}-", label=f"{name}: most important first")
        axes.plot(SHARES, least.tolist(), f"C{number}:", label=f"{name}: least important first")
    axes.legend(fontsize=8)
    return figure
