"""`fex-serve CHECKPOINT`: a trained explainer behind an address."""

import argparse
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

from fex.cli.program import USER_ERRORS, new_parser, refused

__all__ = ["main", "run"]

_EPILOG = """
POST /explain takes pictures (multipart or base64 JSON) or texts; /health, /info and /docs say the rest. Without --host
it listens on this machine alone. A client behind a proxy has the proxy's address.

needs: pip install "fex-explain[serve]"

examples:
  fex-serve fex_efficientnet_lite0 --port 8000
  curl -F images=@dog.jpg -F top_k=2 http://127.0.0.1:8000/explain
  curl -F images=@dog.jpg -H "Accept: image/png" http://127.0.0.1:8000/explain > dog.png
  FEX_TOKEN=... fex-serve fex_minilm_sst2 --black-box minilm_sst2 --token-env FEX_TOKEN --host 0.0.0.0 --rate 20
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = new_parser("fex-serve", "Serve a trained explainer by HTTP, on LitServe.", _EPILOG)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="as of fex-explain; also an .onnx or .xml of fex-export")
    add("--black-box", metavar="BOX", help="as of fex-explain: it then chooses the classes, and can be asked to refine")
    add(
        "--backbone", metavar="FILE", help="local file of the weights that an explainer stands on (default: timm's hub)"
    )
    add("--host", default="127.0.0.1", choices=("127.0.0.1", "0.0.0.0", "::"), help="(default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="(default: 8000)")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(default: auto)")
    add("--workers", type=int, help="processes a device that explain (default: of a CPU 2, else 1)")
    add("--batch-size", type=int, default=32, help="requests a pass at most (default: 32)")
    add("--token-env", metavar="NAME", help="variable with the token that clients must show as a bearer token")
    add("--max-body", type=float, default=32, metavar="MB", help="of a request (default: 32)")
    add("--max-pixels", type=int, default=25_000_000, help="of a picture (default: 25 million)")
    add("--max-inputs", type=int, default=64, help="pictures or texts of a request (default: 64)")
    add("--max-refine", type=int, default=256, help="queries about an input (default: 256)")
    add("--max-waiting", type=int, default=256, help="requests at once; further ones get 503 (default: 256)")
    add("--timeout", type=float, default=30, metavar="SECONDS", help="of a request in all (default: 30)")
    add("--rate", type=float, metavar="N", help="requests a second of a client's address (default: any)")
    return parser


def run(argv: Sequence[str]) -> Any:
    """The server of a command line, not started, and how to start it."""
    arguments = build_parser().parse_args(argv)
    if (
        not 1024 <= arguments.port <= 65535
        or min(each for each in (arguments.workers, arguments.batch_size) if each is not None) < 1
    ):
        raise ValueError("--port must lie in 1024 ... 65535, --workers and --batch-size be at least 1.")
    try:
        import litserve  # noqa: F401
        import python_multipart  # noqa: F401
    except ImportError as error:
        raise ImportError(f'fex-serve needs {error.name}: pip install "fex-explain[serve]".') from error
    # Here, since they take seconds, for which the help need not wait.
    from fex.black_box.secrets import read_token
    from fex.cli.explain.black_box_argument import chosen_black_box
    from fex.serve import Limits
    from fex.serve.server import make_server

    limits = Limits(
        body=int(arguments.max_body * 2**20),
        pixels=arguments.max_pixels,
        inputs=arguments.max_inputs,
        queries=arguments.max_refine,
        waiting=arguments.max_waiting,
        seconds=arguments.timeout,
        rate=arguments.rate,
    )
    server = make_server(
        arguments.checkpoint,
        black_box=partial(chosen_black_box, arguments.black_box) if arguments.black_box else None,
        limits=limits,
        token=read_token(arguments.token_env, "fex-serve") if arguments.token_env else "",
        device=arguments.device,
        workers=arguments.workers,
        batch=arguments.batch_size,
        backbone=arguments.backbone,
    )
    # A thread, not a process: a worker that dies is then told to those who wait for its answers.
    start = partial(server.run, host=arguments.host, port=arguments.port, num_api_servers=1, log_level="warning",
                    api_server_worker_type="thread", generate_client_file=False)  # fmt: skip
    return server, start


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _ended(code: int) -> NoReturn:
    """Ends this process and those that it began: stopped while they start, LitServe leaves them behind."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    for child in children:
        child.join(5)
        if child.is_alive():
            child.kill()
    sys.stdout.flush()
    os._exit(code)  # the thread of the web server does not end by itself


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fex-serve`; returns the exit code."""
    try:
        server, start = run(sys.argv[1:] if argv is None else argv)
    except USER_ERRORS as error:
        return refused("fex-serve", error)
    signal.signal(signal.SIGTERM, _stop)  # or workers would outlive this process
    # LitServe ends its web server as a process, and tells that a thread cannot be ended so; this process ends with it.
    logging.getLogger("litserve.server").addFilter(lambda record: "'terminate'" not in record.getMessage())
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # or every malformed form is a line of the log
    print(f"fex-serve: {server.app.title}; /docs shows how to ask", flush=True)
    try:
        start()
    except KeyboardInterrupt:
        pass
    except (OSError, RuntimeError) as error:
        _ended(refused("fex-serve", error))
    _ended(0)


if __name__ == "__main__":
    sys.exit(main())
