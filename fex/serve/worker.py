"""The worker processes: jobs that have come together are explained as one batch."""

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any

import litserve
import torch
from fastapi import Depends
from litserve.loops import BatchedLoop
from starlette.responses import Response

from fex.errors import BlackBoxError
from fex.explainers import Refined, load_explainer
from fex.serve.desk import Job, read_job
from fex.storage.memory import keep_memory

__all__ = ["ExplainAPI"]


class _Ahead:
    """A queue whose first entry was taken already."""

    def __init__(self, first: Any, queue: Any) -> None:
        self.first, self.queue = [first], queue

    def get_nowait(self) -> Any:
        return self.first.pop() if self.first else self.queue.get_nowait()


class _Patient(BatchedLoop):
    """Waits for a first request, and takes along what else has come by then; LitServe's own asks without a pause."""

    def get_batch_requests(self, lit_api: Any, request_queue: Any, transport: Any) -> tuple[list[Any], list[Any]]:
        first = self.get_request(request_queue, timeout=0.05)  # what comes in so long after its death goes with it
        return (
            ([], []) if first is None else super().get_batch_requests(lit_api, _Ahead(first, request_queue), transport)
        )


class ExplainAPI(litserve.LitAPI):
    """`POST /explain` of LitServe.

    Args:
        checkpoint: of the explainer.
        box: what gives the black box; None where none is asked.
        batch: requests a pass at most.
        threads: of a worker.
        backbone: see `fex.load_explainer`.
    """

    def __init__(
        self, checkpoint: str, box: Any = None, *, batch: int = 32, threads: int = 1, backbone: str | None = None
    ) -> None:
        super().__init__(max_batch_size=batch, batch_timeout=0.0, api_path="/explain", loop=_Patient())
        self.checkpoint, self.box, self.threads, self.backbone = checkpoint, box, threads, backbone

    def setup(self, device: str) -> None:
        """In a worker, once."""
        keep_memory()  # its memory is its own: nothing is inherited from the server's process
        torch.set_num_threads(self.threads)
        self.explainer = load_explainer(self.checkpoint, self.backbone).to(device)
        self.black_box = None if self.box is None else self.box().to(device)

    def decode_request(self, request: Annotated[Job, Depends(read_job)]) -> Job:
        """The web process has read it."""
        return request

    def batch(self, inputs: list[Job]) -> list[Job]:
        """As they are: `predict` puts together what shares a pass."""
        return inputs

    def predict(self, x: list[Job]) -> list[Response]:
        """One pass for all jobs that ask for as many classes, whichever these are; refining is of one class."""
        answers: dict[int, Response] = {}
        groups: dict[tuple[Any, ...], list[int]] = {}
        for place, job in enumerate(x):
            groups.setdefault((job.top_k, job.refine, job.target if job.refine else None), []).append(place)
        for places in groups.values():
            answers.update(zip(places, self._answers([x[place] for place in places]), strict=True))
        return [answers[place] for place in range(len(x))]

    def unbatch(self, output: list[Response]) -> list[Response]:
        """One a request."""
        return output

    def encode_response(self, output: Response) -> Response:
        """It is one."""
        return output

    def _answers(self, jobs: Sequence[Job]) -> list[Response]:
        try:
            return [_answer(job, found) for job, found in zip(jobs, self._explained(jobs), strict=True)]
        except Exception as error:
            if len(jobs) > 1:  # one of them may not cost the others
                return [self._answers([job])[0] for job in jobs]
            known = 502 if isinstance(error, BlackBoxError | OSError) else 422 if isinstance(error, ValueError) else 501
            return [_reply({"detail": str(error) or type(error).__name__}, known)]

    def _explained(self, jobs: Sequence[Job]) -> list[list[list[Any]]]:
        """Explanations of each class of each input of each job."""
        given: Any = [each for job in jobs for each in job.inputs]
        if self.explainer.modality.name == "image":
            given = torch.stack([torch.from_numpy(pixels) for pixels in given]).float().div_(255.0)
        top_k, refine = jobs[0].top_k, jobs[0].refine
        if refine:
            found = Refined(self.explainer, self.black_box, queries=refine).explain(given, jobs[0].target, top_k)
        else:
            targets = [job.target for job in jobs for _ in job.inputs]
            found = self.explainer.explain(given, targets, top_k, black_box=self.black_box)
        rows = iter([found[first : first + top_k] for first in range(0, len(found), top_k)])
        return [[next(rows) for _ in job.inputs] for job in jobs]


def _answer(job: Job, found: list[list[Any]]) -> Response:
    if job.alone:
        return Response(found[0][0].png(), media_type="image/png")
    drawn = (lambda each: {"png": base64.b64encode(each.png()).decode()}) if job.png else lambda _: {}
    return _reply({"explanations": [[{**each.to_dict(), **drawn(each)} for each in row] for row in found]})


def _reply(content: Any, status: int = 200) -> Response:
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, media_type="application/json")
