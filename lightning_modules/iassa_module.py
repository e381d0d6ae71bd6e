"""IASSA over a data set."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from fex.iassa import IASSA, Iteration
from fex.report.heatmap import colorize, normalise
from lightning_modules.instances.module import InstanceModule
from lightning_modules.sinks import Sink

__all__ = ["IASSAModule"]


class IASSAModule(InstanceModule):
    """Explains each instance by windows; logs the map, its change and the queries by iteration.

    Args:
        explainer: IASSA.
        score_iterations: score the map after each iteration too (the curves of Figures 6 and 7): "course" in
            report.json, and course.png; with protocols that ask the black box, that costs queries.
        **options: see `InstanceModule`.
    """

    def __init__(self, explainer: IASSA, *, score_iterations: bool = False, **options: Any) -> None:
        super().__init__(explainer, **options)
        self.score_iterations = score_iterations

    def further_settings(self) -> dict[str, Any]:
        """Whether the course is scored: an instance without it cannot be counted among those that have it."""
        return {"score_iterations": self.score_iterations}

    def course_maps(self, course: list[Iteration]) -> list[Tensor]:
        """The map after each iteration, if they are to be scored."""
        return [step.attribution for step in course] if self.score_iterations else []

    def explain_rows(self, inputs: Tensor, target: Tensor) -> Iterator[tuple[int, Tensor, list[Iteration]]]:
        """See `InstanceModule`."""
        for place in range(len(inputs)):
            one = slice(place, place + 1)
            steps = self.explainer.explain_instances(inputs[one], target[one])[0]
            yield place, steps[-1].attribution, steps

    def log_course(self, sink: Sink, name: str, course: list[Iteration]) -> None:
        """Map, change and queries by iteration."""
        for step in course:
            sink.number(f"{name}/change", step.change, step.number)
            sink.number(f"{name}/queries", step.queries, step.number)
            picture = colorize(normalise(step.attribution.cpu().numpy()))
            sink.picture(f"{name}/map", picture, step.number)
