"""Ray, Spark, datasets: one class that explains a batch of a table, on whatever worker it comes to."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from fex.explainers.image_stream import ImageFile, explain_files
from fex.explainers.loading import load_explainer
from fex.explainers.text_stream import explain_records
from fex.explainers.trained import AmortizedExplainer
from fex.images.decoding import UnreadableImageError, read_pixels
from fex.images.files import as_picture
from fex.images.preprocess import Preprocess
from fex.report.shards import SCORES, explanation_table
from fex.storage.memory import keep_memory
from fex.storage.names import printable
from fex.texts.files import TextRecord, unfit

__all__ = ["ExplainBatch"]

# What Spark has no word for, and how its schemas call the rest.
_SPARK_HAS = {pa.float16(): pa.float32(), pa.uint8(): pa.int16()}
_SPARK_CALLS = {
    pa.string(): "string", pa.bool_(): "boolean", pa.int16(): "smallint", pa.int32(): "int", pa.float32(): "float",
}  # fmt: skip


class ExplainBatch:
    """A batch of pictures or texts -> the rows of `fex-explain --formats parquet`, one an input and class.

    For ``ray_dataset.map_batches(ExplainBatch, fn_constructor_kwargs={...})``, ``dataset.map(ExplainBatch(...),
    batched=True)`` and ``frame.mapInPandas(explain.frames, explain.spark_schema)``. It is pickled without the network,
    which a worker loads for its first batch. A picture or text that cannot be explained is a row with the reason in
    `error`; a mistake in the settings stops the job.

    Args:
        checkpoint: see `fex.load_explainer`; a path must lead to the file on every worker.
        column: of the pictures (encoded bytes, paths, arrays (h, w, 3), uint8, RGB, PIL images, or the bytes and path
            that datasets keep) or of the texts.
        name: column of the inputs' names, `file` in the rows; by default that of the pictures, where it has paths.
        keep: columns that come along.
        target: class by name or index; by default the likeliest ones.
        top_k: how many of them.
        batch_size: inputs a pass.
        scores: "float16" or "uint8".
        threads: of torch, and as many that decode, on a worker; None leaves torch's.
        device: "cpu", "cuda" ...; "auto" takes a GPU that the worker has.
        backbone: see `fex.load_explainer`; a path must lead to the file on every worker.

    Raises:
        ValueError: settings that exclude each other.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        column: str,
        *,
        name: str | None = None,
        keep: Sequence[str] = (),
        target: str | int | None = None,
        top_k: int = 1,
        batch_size: int = 32,
        scores: str = "float16",
        threads: int | None = None,
        device: str = "auto",
        backbone: str | os.PathLike[str] | None = None,
    ) -> None:
        if scores not in SCORES:
            raise ValueError(f"Got scores {scores!r}, expected one of {', '.join(SCORES)}.")
        if min(top_k, batch_size, 1 if threads is None else threads) < 1 or (target is not None and top_k > 1):
            raise ValueError("top_k, batch_size and threads must be at least 1, and top_k is without target.")
        if both := set(keep) & set(explanation_table([], "uint8", texts=True).column_names):
            raise ValueError(f"keep={sorted(both)}: the rows have such columns of their own; rename yours before.")
        path = Path(checkpoint)  # workers start in other folders
        self.checkpoint = str(path.resolve()) if path.exists() else os.fspath(checkpoint)
        self.column, self.name, self.keep = column, name, list(keep)
        self.target, self.top_k, self.batch_size = target, top_k, batch_size
        self.scores, self.threads, self.device = scores, threads, device
        self.backbone = None if backbone is None else str(Path(backbone).resolve())
        # datasets takes results from its cache where the pickle is the same: that of another training is not.
        files = [path] if path.is_file() else sorted(path.rglob("*.ckpt")) if path.is_dir() else []
        self.stamp = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "explainer"}

    @cached_property
    def explainer(self) -> AmortizedExplainer:
        """The explainer, loaded when it is first asked for."""
        keep_memory()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        explainer = load_explainer(self.checkpoint, self.backbone).to(auto if self.device == "auto" else self.device)
        if self.target is not None:
            explainer.target_index(self.target)
        if self.top_k > len(explainer.class_names):
            raise ValueError(f"top_k is {self.top_k}, the explainer has {len(explainer.class_names)} classes.")
        if explainer.modality.name not in ("image", "text"):
            raise ValueError(f"{self.checkpoint} explains {explainer.modality.name!r}, expected pictures or texts.")
        return explainer

    def __call__(self, batch: Any) -> Any:
        """Explains a batch.

        Args:
            batch: columns by name (lists or arrays), a pyarrow table or record batch, or a pandas frame.

        Returns:
            A pandas frame of one, otherwise a pyarrow table: the columns of `keep`, then those of the rows.

        Raises:
            ValueError: no such column.
        """
        table = self._table(batch)
        return table.to_pandas(integer_object_nulls=True) if isinstance(batch, pd.DataFrame) else table

    def frames(self, batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """The same of Spark's `mapInPandas`, in types that Spark has: float for float16, smallint for uint8."""
        for batch in batches:
            yield _for_spark(self._table(batch)).to_pandas(integer_object_nulls=True)

    @property
    def spark_schema(self) -> str:
        """Of the rows of `frames`; put the columns of `keep` before it: ``f"id bigint, {explain.spark_schema}"``."""
        schema = _for_spark(self._rows([])).schema
        return ", ".join(f"{field.name} {_spark_word(field.type)}" for field in schema)

    def _table(self, batch: Any) -> pa.Table:
        if isinstance(batch, pa.RecordBatch):
            batch = pa.Table.from_batches([batch])
        names = batch.column_names if isinstance(batch, pa.Table) else list(batch)
        asked = [self.column, *([] if self.name is None else [self.name]), *self.keep]
        if missing := [name for name in asked if name not in names]:
            raise ValueError(f"The batch has no column {', '.join(missing)}; it has {', '.join(map(str, names))}.")
        values = _values(batch, self.column)
        inputs = self._names(batch, values)
        found = list(zip(inputs, self._explained(inputs, values), strict=True))
        counts = [1 if isinstance(each, str) else len(each) for _, each in found]
        rows = np.repeat(np.arange(len(found)), np.array(counts, int))
        kept = {name: _kept(batch, name).take(pa.array(rows)) for name in self.keep}
        table = self._rows(found)
        return pa.table({**kept, **dict(zip(table.column_names, table.columns, strict=True))})

    def _names(self, batch: Any, values: Sequence[Any]) -> list[str | None]:
        if self.name is not None:
            values = _values(batch, self.name)
        elif self._texts:  # a text is no name
            return [None] * len(values)
        else:
            values = [value if isinstance(value, str | os.PathLike) else None for value in values]
        return [None if value is None else printable(str(value)) for value in values]

    @property
    def _texts(self) -> bool:
        return self.explainer.modality.name == "text"

    def _rows(self, found: Sequence[tuple[str | None, Any]]) -> pa.Table:
        return explanation_table(found, self.scores, texts=self._texts)

    def _explained(self, names: Sequence[str | None], values: Sequence[Any]) -> Iterator[Any]:
        options: dict[str, Any] = {"target": self.target, "top_k": self.top_k, "batch_size": self.batch_size}
        if self._texts:
            records = (_record(name or "", value) for name, value in zip(names, values, strict=True))
            stream = explain_records(self.explainer, records, **options)
        else:
            files = (ImageFile(value, PurePath(name or "")) for name, value in zip(names, values, strict=True))
            options |= {"num_workers": self.threads or torch.get_num_threads(), "reader": _pixels}
            stream = explain_files(self.explainer, files, **options)
        for _, each in stream:
            yield each


def _values(batch: Any, column: str) -> list[Any]:
    """The cells of a column; None where there is nothing, whatever the library writes there."""
    found = batch[column]
    cells = found.to_pylist() if isinstance(found, pa.ChunkedArray) else list(found)
    return [None if cell is pd.NA or (isinstance(cell, float) and cell != cell) else cell for cell in cells]


def _kept(batch: Any, column: str) -> pa.Array:
    found = batch[column]
    if isinstance(found, pa.ChunkedArray):
        return found
    if isinstance(found, pd.Series):
        return pa.Array.from_pandas(found)
    return pa.array(found.tolist() if isinstance(found, np.ndarray) and found.ndim > 1 else found)


def _record(name: str, text: Any) -> TextRecord:
    error = "the text is null" if text is None else unfit(text)
    return TextRecord(name, None if error else text, error=error)


def _pixels(source: Any, preprocess: Preprocess) -> Tensor:
    """What a table holds as a picture -> uint8 (3, H, W).

    Raises:
        UnreadableImageError: with the reason.
    """
    if isinstance(source, Mapping):  # of datasets, not decoded
        source = source.get("bytes") or source.get("path")
    if source is None:
        raise UnreadableImageError("the picture is null")
    if isinstance(source, bytes | bytearray | memoryview):
        return read_pixels(bytes(source), preprocess)
    if isinstance(source, str | os.PathLike):
        return read_pixels(source, preprocess)
    try:
        return preprocess.pixels(as_picture(source))
    except Exception as error:  # PIL's plugins raise a dozen kinds where a picture is decoded only now
        raise UnreadableImageError(str(error) or type(error).__name__) from error


def _spark_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_spark_type(kind.value_type))
    return _SPARK_HAS.get(kind, kind)


def _for_spark(table: pa.Table) -> pa.Table:
    fields = [pa.field(field.name, _spark_type(field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def _spark_word(kind: pa.DataType) -> str:
    return f"array<{_spark_word(kind.value_type)}>" if pa.types.is_list(kind) else _SPARK_CALLS[kind]
