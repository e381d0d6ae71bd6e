"""What a run trains, in a few lines that a log file can hold too."""

from typing import Any

from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.model_summary.model_summary import get_human_readable_count

__all__ = ["ModelLines"]


class ModelLines(ModelSummary):
    """Name, class and parameters of each part; no FLOPs, which are counted only once a model was called."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]], total_parameters: int, trainable_parameters: int, *_: Any, **__: Any
    ) -> None:
        """Lightning's hook, with the columns of its table."""
        columns = dict(summary_data)
        rows = zip(columns["Name"], columns["Type"], columns["Params"], strict=True)
        parts = ", ".join(f"{name} ({kind}) {count.strip()}" for name, kind, count in rows if count.strip() != "0")
        whole, trained = (get_human_readable_count(int(n)).strip() for n in (total_parameters, trainable_parameters))
        rank_zero_info(f"Parameters: {parts}; {trained} of {whole} are trained.")
