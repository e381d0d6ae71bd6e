"""Which column of a table holds the texts."""

from collections.abc import Collection

__all__ = ["USUAL_COLUMNS", "named_column", "plain_name", "text_column"]


USUAL_COLUMNS = ("text", "sentence", "review", "content", "document")


def text_column(columns: list[str], wanted: str | None, source: str, texts: Collection[str] | None = None) -> str:
    """The column of texts: the wanted one, one of a usual name, or the only one.

    Names that are not there as written are compared without case and the spaces around them.

    Args:
        columns: their names.
        wanted: one of them.
        source: what has them, for messages.
        texts: those that hold texts and may be chosen where none is wanted; by default all.

    Returns:
        The name as it stands in `columns`.

    Raises:
        ValueError: there is none, or more than one of that name; lists the columns.
    """
    able = [name for name in columns if texts is None or name in texts]
    if wanted is not None:
        found = named_column(columns, wanted, source)
        if found is None:
            raise ValueError(f"{source} has no column {wanted!r}; it has {columns}. Name one of these.")
        return found
    usual = (named_column(able, name, source) for name in USUAL_COLUMNS)
    found = next((name for name in usual if name is not None), None)
    if found is None and (len(columns) != 1 or not able):
        raise ValueError(f"{source} does not say which column holds the texts; it has {columns}. Name one (--column).")
    return found if found is not None else columns[0]


def named_column(columns: list[str], wanted: str, source: str) -> str | None:
    """The column of that name as it stands there; None where there is none.

    Raises:
        ValueError: there are more.
    """
    alike = [name for name in columns if plain_name(name) == plain_name(wanted)]
    same = [name for name in columns if name == wanted] or alike
    if len(same) > 1:
        raise ValueError(f"{source} has {len(same)} columns {wanted!r}; it has {columns}. Rename all but one of them.")
    return same[0] if same else None


def plain_name(name: str) -> str:
    """Without case, and the spaces around it."""
    return name.strip().casefold()
