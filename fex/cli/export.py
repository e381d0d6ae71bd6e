"""`fex-export CHECKPOINT FILE...`: a trained explainer as one graph, to be run without its network."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fex.cli.program import USER_ERRORS, new_parser, refused

__all__ = ["main", "run"]

_EPILOG = """
The graph gives the scores of one class, of several or of all, for any number of inputs, in one pass. Its metadata hold
class names, preprocessing and grid. The file is compared with the network before this ends. Methods that query their
black box or take gradients of it cannot be exported: there is no one graph of them.

needs: pip install "fex-explain[export]" (.pt2 needs nothing more)

examples:
  fex-export fex_efficientnet_lite0 explainer.onnx && fex-explain explainer.onnx photo.jpg
  fex-export runs/mine explainer.xml explainer.pt2
"""


def run(argv: Sequence[str]) -> list[Path]:
    """Does what the command line says; returns the files."""
    parser = new_parser(
        "fex-export", "Write a trained explainer as one graph: ONNX, OpenVINO or torch.export.", _EPILOG
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="shipped name, .ckpt, .safetensors, or a run's folder")
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path,
        help="ends in .onnx, .xml (OpenVINO; a .bin comes beside it) or .pt2 (torch.export.load)",
    )  # fmt: skip
    parser.add_argument(
        "--backbone", metavar="FILE",
        help="local file of the weights that an explainer stands on whose own file leaves them out (default: timm's "
        "hub)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    from fex.explainers import load_explainer  # here, since it takes seconds, for which the help need not wait
    from fex.export import export

    explainer = load_explainer(arguments.checkpoint, backbone=arguments.backbone)
    return [export(explainer, path) for path in arguments.files]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fex-export`; returns the exit code."""
    try:
        written = run(sys.argv[1:] if argv is None else argv)
    except (*USER_ERRORS, TypeError) as error:
        return refused("fex-export", error)
    print(f"wrote {', '.join(map(str, written))}; each was compared with the network")
    return 0
