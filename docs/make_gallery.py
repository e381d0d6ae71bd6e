"""Makes the pictures of the gallery by the commands that stand there, from photographs that come with scikit-image.

All are in the public domain: the cat Chelsea (CC0, Stefan van der Walt), a cup of coffee (CC0, Rachel Michetti), a
Falcon 9 (SpaceX, released into the public domain), the astronaut Eileen Collins (NASA).

    python docs/make_gallery.py
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from skimage import data

from fex.cli.explain import main as main_of_explain

PICTURES = Path(__file__).parent / "pictures" / "gallery"
COMMANDS = {
    "cat": ["fex_efficientnet_lite0", "cat.png"],
    "coffee": ["fex_efficientnet_lite0", "coffee.png"],
    "rocket": ["fex_efficientnet_lite0", "rocket.png"],
    "astronaut": ["fex_efficientnet_lite0", "astronaut.png"],
    "coffee_espresso": ["fex_efficientnet_lite0", "coffee.png", "--target", "espresso"],
}


def main() -> None:
    """Runs each command in a folder of its own, and keeps the overlay as WebP."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    photographs = {
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "rocket": data.rocket(),
        "astronaut": data.astronaut(),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, pixels in photographs.items():
            Image.fromarray(pixels).save(f"{folder}/{name}.png")
        for name, arguments in COMMANDS.items():
            found = [f"{folder}/{word}" if word.endswith(".png") else word for word in arguments]
            sys.argv = ["fex-explain", *found, "--output", f"{folder}/{name}"]
            if code := main_of_explain():
                raise SystemExit(f"{' '.join(sys.argv)} ended with {code}.")
            (overlay,) = Path(folder, name).glob("*.png.png")
            with Image.open(overlay) as picture:
                picture.save(PICTURES / f"{name}.webp", quality=85)


if __name__ == "__main__":
    main()
