"""Draws the picture at the head of the README: photographs in rows, methods in columns, every map a real explanation.

The photographs come with scikit-image and are in the public domain: a cup of coffee (CC0, Rachel Michetti), the cat
Chelsea (CC0, Stefan van der Walt), a Falcon 9 (SpaceX, released into the public domain). The coffee beside the cat is
a picture with two classes.

    python docs/make_picture.py
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from skimage import data

import fex
from fex.baselines import LIME, RISE, GradCAM
from fex.images import PatchGrid
from fex.report.heatmap import fitted, normalise, overlay, to_picture, typeface, upsample

PATH = Path(__file__).parent / "pictures" / "explanations.jpg"
SIDE, GAP, LEFT, TOP = 224, 8, 0, 62  # pixels
INK, FAINT = (28, 28, 30), (100, 100, 106)
COSTS = {
    "FEX": "one pass of its own",
    "GradCAM": "gradients of the classifier",
    "RISE": "100 queries",
    "LIME": "100 queries",
}
ROWS = [("coffee", None), ("rocket", None), ("both", "Egyptian cat"), ("both", "espresso")]  # None: the likeliest class


def photographs() -> dict[str, Image.Image]:
    """The squares that are explained."""
    cat, coffee, rocket = (Image.fromarray(picture) for picture in (data.chelsea(), data.coffee(), data.rocket()))
    both = Image.new("RGB", (448, 448))
    both.paste(coffee.crop((190, 0, 390, 400)).resize((224, 448)), (0, 0))
    both.paste(cat.crop((150, 0, 300, 300)).resize((224, 448)), (224, 0))
    return {"coffee": coffee, "cat": cat, "rocket": rocket, "both": both}


def explainers(box: fex.BlackBox) -> dict[str, Any]:
    """All score the same 7 x 7 patches."""
    grid = PatchGrid(7, 7)
    return {
        "FEX": fex.load_explainer("fex_efficientnet_lite0"),
        "GradCAM": GradCAM(box, grid),
        "RISE": RISE(box, grid, num_masks=100),
        "LIME": LIME(box, grid, num_masks=100),
    }


def answers() -> list[tuple[np.ndarray, str, dict[str, np.ndarray]]]:
    """Of each row: the picture (3, H, W), class and probability, and by method the map (7, 7)."""
    box = fex.load_black_box("efficientnet_lite0", chunk=8)  # 8 suits a CPU's cache
    methods, pictures, found = explainers(box), photographs(), []
    for which, target in ROWS:
        inputs = methods["FEX"].open(pictures[which]).unsqueeze(0)
        scores = box(inputs)[0]
        index = int(scores.argmax()) if target is None else box.class_names.index(target)
        maps = {name: explainer.attribute(inputs, target=index)[0].numpy() for name, explainer in methods.items()}
        side = SIDE // 7
        maps = {name: heat.reshape(7, side, 7, side).mean((1, 3)) for name, heat in maps.items()}
        found.append((inputs[0].numpy(), f"{box.class_names[index]}: {scores[index]:.0%}", maps))
    return found


def draw(rows: list[tuple[np.ndarray, str, dict[str, np.ndarray]]], path: Path = PATH) -> None:
    """Saves the picture: class and probability stand over the photograph, each map has its own lowest and highest."""
    step, height = SIDE + GAP, SIDE + GAP
    canvas = Image.new("RGB", (LEFT + (1 + len(COSTS)) * step - GAP, TOP + len(rows) * height - GAP), "white")
    pen = ImageDraw.Draw(canvas)
    for column, (name, cost) in enumerate({"the classifier sees": "and says", **COSTS}.items()):
        middle = LEFT + column * step + SIDE / 2
        pen.text((middle, 18), name, INK, typeface(20, bold=name == "FEX"), anchor="mm")
        pen.text((middle, 43), cost, FAINT, typeface(15), anchor="mm")
    for row, (inputs, caption, maps) in enumerate(rows):
        top, photograph = TOP + row * height, to_picture(inputs)
        canvas.paste(photograph, (LEFT, top))
        words = fitted(caption, typeface(18, bold=True), SIDE - 16)
        pen.rectangle((LEFT, top + SIDE - 32, LEFT + SIDE - 1, top + SIDE - 1), fill=INK)
        pen.text((LEFT + SIDE / 2, top + SIDE - 16), words, "white", typeface(18, bold=True), anchor="mm")
        for column, name in enumerate(COSTS, start=1):
            heat = upsample(normalise(maps[name]), (SIDE, SIDE))
            canvas.paste(overlay(photograph, heat), (LEFT + column * step, top))
    canvas.save(path, quality=88, optimize=True)


if __name__ == "__main__":
    draw(answers())
