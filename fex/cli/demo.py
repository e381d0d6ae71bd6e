"""`fex-demo CHECKPOINT`: a page to try a trained explainer in a browser."""

import sys
from collections.abc import Sequence
from typing import Any

from fex.cli.program import USER_ERRORS, new_parser, refused

__all__ = ["main", "run"]

_EPILOG = """
Drop a picture or write a text, choose classes, see the maps. With --black-box also what it says as features go, and how
faithful the maps are. --compare shows the maps of a second explainer beside the first one's.

needs: pip install "fex-explain[demo]"

examples:
  fex-demo fex_efficientnet_lite0
  fex-demo runs/mine --black-box mine.yaml --compare runs/other
"""


def run(argv: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """The page of a command line, and how it is launched."""
    parser = new_parser("fex-demo", "Try a trained explainer in a browser.", _EPILOG)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="as of fex-explain")
    parser.add_argument("--compare", metavar="CHECKPOINT", help="a second explainer of the same classes")
    parser.add_argument("--black-box", metavar="BOX", help="as of fex-explain")
    parser.add_argument(
        "--backbone", metavar="FILE", help="local file of the weights that explainers stand on (default: timm's hub)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="(default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, default=7860, help="(default: 7860)")
    arguments = parser.parse_args(argv)
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError('fex-demo needs gradio: pip install "fex-explain[demo]".') from error
    # Here, since they take seconds, for which the help need not wait.
    from fex.cli.explain.black_box_argument import chosen_black_box
    from fex.demo import Trial
    from fex.demo.page import LAUNCH, make_page
    from fex.explainers.loading import build_explainer, read_explainer

    names = [arguments.checkpoint, *([arguments.compare] if arguments.compare else [])]
    box = chosen_black_box(arguments.black_box) if arguments.black_box else None
    explainers = []
    for number, name in enumerate(names):
        tensors, meta = read_explainer(name)
        needed = number == 0 or "trunk" in meta  # the second may hold all its weights
        explainers.append(build_explainer(tensors, meta, source=name, backbone=arguments.backbone if needed else None))
    page = make_page(Trial(explainers, names, box))
    return page, {**LAUNCH, "server_name": arguments.host, "server_port": arguments.port}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fex-demo`; returns the exit code."""
    try:
        page, how = run(sys.argv[1:] if argv is None else argv)
        print(f"fex-demo: http://{how['server_name']}:{how['server_port']}", flush=True)
        page.launch(**how)
    except USER_ERRORS as error:
        return refused("fex-demo", error)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
