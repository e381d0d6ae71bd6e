"""A modality of numbers in a table, written outside `fex`: what `CONTRIBUTING.md` says of a modality, followed once.

Read `columns` (features, removal, how rows are read), `box`, `encoder`, `data`, `modality`, in which all come together.
"""

from tests.table_modality.box import LinearTableBox
from tests.table_modality.columns import Columns, Typical, TypicalRow
from tests.table_modality.data import TableDataModule
from tests.table_modality.encoder import ColumnEncoder
from tests.table_modality.modality import TableExplanation, TableModality

__all__ = [
    "ColumnEncoder",
    "Columns",
    "LinearTableBox",
    "TableDataModule",
    "TableExplanation",
    "TableModality",
    "Typical",
    "TypicalRow",
]
