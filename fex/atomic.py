"""Files that appear whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there takes its place on success, and goes on failure.

    Missing folders are made.

    Raises:
        OSError: the place cannot be written, or the disk is full; names `path`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(f"{folder}/sub/a.txt") as part:
        ...         _ = part.write_text("whole")
        ...     Path(folder, "sub", "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    # A name of its own, so that a long name stays within the file system's limit and two threads do not meet.
    part = path.with_name(f".fex-{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        reason = error.strerror or str(error)
        raise OSError(f"Could not write {path} ({reason}): choose a place that is writable and has space.") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
