"""The server: LitServe's, with the door in front and the desk in it."""

import os
from collections.abc import Callable
from typing import Any

import litserve
import torch
from litserve.utils import LitAPIStatus

from fex import __version__
from fex.explainers import load_explainer
from fex.serve.desk import Desk, Question
from fex.serve.door import Door
from fex.serve.limits import Limits
from fex.serve.worker import ExplainAPI

__all__ = ["make_server"]


class _Server(litserve.LitServer):
    """Tells all whose request was lost with its worker; LitServe tells those of whom the worker had spoken."""

    def launch_single_inference_worker(self, lit_api: Any, worker_id: int) -> Any:
        """Starts a lost worker anew; what waits for an answer, and neither a worker nor the queue has, went with it."""
        waiting = [each for each in [*self.response_buffer.values()] if each.worker_id is None]
        waiting = [each for each in waiting if not each.event.is_set()]
        queued = self._get_request_queue(lit_api.api_path).qsize()  # the newest of those that wait
        for each in waiting[: max(0, len(waiting) - queued)]:
            each.response = (None, LitAPIStatus.ERROR)
            each.event.set()
        return super().launch_single_inference_worker(lit_api, worker_id)


def make_server(
    checkpoint: str,
    *,
    black_box: Callable[[], Any] | None = None,
    limits: Limits | None = None,
    token: str = "",
    device: str = "auto",
    workers: int | None = None,
    batch: int = 32,
    backbone: str | None = None,
) -> litserve.LitServer:
    """A server of one explainer; `run` starts it.

    Args:
        checkpoint: see `fex.load_explainer`.
        black_box: what gives the black box, which then chooses the classes and can be asked to refine; a function that
            other processes can import.
        limits: bounds on what comes in.
        token: what clients must show; "" lets all in.
        device: "auto", "cpu", "cuda" or "mps".
        workers: processes a device; by default one, and of several cores two, which share them: one computes while the
            answers of the other are sent, where the threads of one alone would wait for each other.
        batch: requests a pass at most.
        backbone: see `fex.load_explainer`.

    Raises:
        FileNotFoundError, ValueError: no such explainer; see `fex.load_explainer`; or a black box that is not its own.
    """
    limits, cores = limits or Limits(), os.cpu_count() or 1
    if workers is None:
        gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
        workers = min(2, cores) if device == "cpu" or (device == "auto" and not gpu) else 1
    explainer = load_explainer(checkpoint, backbone)
    if black_box is not None:
        explainer.check_box(black_box())  # a mistake is told here, not by a worker
    desk = Desk(explainer, limits, black_box=black_box is not None, threads=cores)
    about = {
        "explainer": checkpoint, "method": explainer.method, "black_box": explainer.black_box, "fex": __version__,
        "modality": explainer.modality.name, "class_names": explainer.class_names, "limits": vars(limits),
        "asks_black_box": black_box is not None,
    }  # fmt: skip
    server = _Server(
        ExplainAPI(checkpoint, black_box, batch=batch, threads=max(1, cores // workers), backbone=backbone),
        accelerator=device,  # type: ignore[arg-type]
        workers_per_device=workers,
        timeout=limits.seconds,
        model_metadata=about,
        middlewares=[(Door, {"limits": limits, "token": token})],
        restart_workers=True,
    )
    server.app.state.desk = desk
    server.app.title, server.app.version = f"{explainer.method} explains {explainer.black_box}", __version__
    for route in server.app.routes:
        if getattr(route, "path", "") == "/explain":
            route.openapi_extra = _documented()  # type: ignore[attr-defined]
    return server


def _documented() -> dict[str, Any]:
    """What the page of the API says of the body: the same fields in both forms, files as files."""
    question = Question.model_json_schema()
    form = {**question, "properties": dict(question["properties"])}
    form["properties"]["images"] = {"type": "array", "items": {"type": "string", "format": "binary"}}
    content = {"application/json": {"schema": question}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}
