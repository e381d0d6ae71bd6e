"""shap: explanations as its `Explanation`, for its plots, and its explanations as those of fex."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fex.explanations.base import BaseExplanation
from fex.explanations.image import Explanation
from fex.explanations.several import Explanations
from fex.explanations.text import TextExplanation
from fex.images.features import PatchGrid

__all__ = ["from_shap", "to_shap"]


def _shap() -> Any:
    try:
        import shap
    except ImportError as error:
        raise ImportError('This needs shap: pip install "fex-explain[interop]".') from error
    return shap


def to_shap(explanations: Sequence[BaseExplanation]) -> Any:
    """A `shap.Explanation`, one row an explanation, for `shap.image_plot` and `shap.plots.text`.

    Of pictures `values` are (B, H, W, 1, 1), each pixel with the score of its feature, one colour, one output; `data`
    are the pixels (B, H, W, 3) in [0, 1]. Of texts they are one array a text, of its tokens. Only Shapley values
    (FastSHAP, KernelSHAP) add up to the probability; `base_values` are then the rest of it, so that shap's sums are
    right, and they mean no more.

    Raises:
        ImportError: shap is not installed.
        ValueError: no explanation, pictures and texts together, pictures of several sizes, or without their pixels.
    """
    shap = _shap()
    if not explanations or len({type(each) for each in explanations}) > 1:
        raise ValueError("Give explanations of pictures, or of texts, at least one.")
    names = sorted({each.target_name for each in explanations})
    if isinstance(explanations[0], Explanation):
        images = [each for each in explanations if isinstance(each, Explanation)]
        if len({each.size for each in images}) > 1 or any(each.image is None for each in images):
            raise ValueError(
                "shap draws pictures of one size, with their pixels: keep `image`, and explain them apart."
            )
        values: Any = np.stack([each.pixels()[..., None, None].numpy() for each in images])
        data: Any = np.stack([each.image.permute(1, 2, 0).numpy() for each in images if each.image is not None])
        sums = [float(each.attribution.sum()) for each in images]
    else:
        texts = [each for each in explanations if isinstance(each, TextExplanation)]
        values = _ragged([each.scores.numpy() for each in texts])
        data = _ragged([np.array(_tokens(each), dtype=object) for each in texts])
        sums = [float(each.scores.sum()) for each in texts]
    base = np.array([each.probability - total for each, total in zip(explanations, sums, strict=True)])
    if isinstance(explanations[0], TextExplanation):
        return shap.Explanation(values, base_values=base, data=data)
    output = names[0] if len(names) == 1 else "explained class"
    return shap.Explanation(values, base_values=base[:, None], data=data, output_names=[output])


def _ragged(rows: Sequence[np.ndarray]) -> np.ndarray:
    found = np.empty(len(rows), dtype=object)
    found[:] = list(rows)
    return found


def _tokens(each: TextExplanation) -> list[str]:
    """The pieces of the text, each with what follows it up to the next."""
    if isinstance(each.text, list):
        return [f"{each.text[word][start:end]} " for word, (start, end) in zip(each.words, each.spans, strict=True)]
    found, places = [], list(zip(each.parts, each.spans, strict=True))
    for (part, (start, end)), following in zip(places, [*places[1:], None], strict=True):
        after = following[1][0] if following is not None and following[0] == part else len(each.texts[part])
        found.append(each.texts[part][start : max(end, after)])
    return found


def from_shap(
    found: Any,
    target: int,
    target_name: str,
    *,
    black_box: str,
    grid: tuple[int, int] | None = None,
    method: str = "SHAP",
    removal: str = "its masker's",
) -> Explanations[Any]:
    """Rows of a `shap.Explanation` of one output as explanations, which can be saved, drawn and compared.

    Args:
        found: of pictures: values (B, H, W, colours), which are summed; of texts: tokens in `data`, a row a text.
            With a last axis of several outputs, take one first: `found[..., 0]`.
        target: index of the output's class.
        target_name: its name.
        black_box: what was explained.
        grid: (height, width) of patches whose pixels are summed; by default each pixel is a feature.
        method: as results name it.
        removal: the same.

    Raises:
        ValueError: values of neither kind.
    """
    sums = np.asarray(found.base_values, dtype=float).reshape(-1)
    values, data = found.values, found.data
    named = {"target": target, "target_name": target_name, "probability_of": "black box", "chosen_by": "user",
             "method": method, "removal": removal, "black_box": black_box}  # fmt: skip
    if isinstance(values, np.ndarray) and values.dtype != object and values.ndim == 4:
        maps = torch.from_numpy(np.ascontiguousarray(values.sum(-1))).float()
        features = PatchGrid(*(grid or maps.shape[1:]))
        share = maps.shape[1] * maps.shape[2] / features.num_features  # means of patches, back to sums
        scores = features.pool(maps) * share if grid else maps.flatten(1)
        images = None if data is None else torch.from_numpy(np.ascontiguousarray(data)).float().movedim(-1, 1)
        return Explanations(
            Explanation(
                row,
                features,
                tuple(maps.shape[1:]),
                None if images is None else _pixels(images[i]),
                probability=_sum(sums, i, row),
                **named,
            )  # fmt: skip
            for i, row in enumerate(scores)
        )
    rows = [np.asarray(row, dtype=np.float32) for row in values]
    if data is None or any(row.ndim != 1 for row in rows):
        raise ValueError(
            "Got values of neither pictures (B, H, W, colours) nor texts (one number a token): take one output first."
        )
    results = Explanations[Any]()
    for i, row in enumerate(rows):
        words, scores = [str(word).strip() for word in data[i]], torch.from_numpy(row)
        kept = [place for place, word in enumerate(words) if word]  # shap's first and last tokens may be empty
        words = [words[place] for place in kept]
        spans, numbers = [(0, len(word)) for word in words], list(range(len(words)))
        results.append(
            TextExplanation(
                words, scores[kept], spans, numbers, [0] * len(words), 0, 1, probability=_sum(sums, i, scores), **named
            )  # fmt: skip
        )
    return results


def _sum(base: np.ndarray, row: int, scores: torch.Tensor) -> float:
    """What Shapley values add up to: the output itself."""
    return float(base[row if len(base) > 1 else 0] + scores.double().sum())


def _pixels(image: torch.Tensor) -> torch.Tensor | None:
    """Pixels as RGB in [0, 1]; None where they are of another kind."""
    image = image / 255 if float(image.max()) > 1 else image
    return image if len(image) == 3 and float(image.min()) >= 0 else None
