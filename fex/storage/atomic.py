"""Files that appear whole or not at all, and folders that one run at a time writes to."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what a killed run left there stays
    fcntl = None  # type: ignore[assignment]

__all__ = ["claimed", "replacing"]

PATIENCE = 10.0  # seconds; loader processes of a run that was killed hold its lock until they notice
_swept: set[str] = set()  # folders that this process has cleared


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there takes its place on success, and goes on failure.

    Missing folders are made. What has taken its place is on the disk, and stays there if the power fails. What runs
    that were killed left beside it is removed.

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
    made = [folder for folder in path.parents if not folder.exists()]
    held = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        held = _hold(part)
        yield part
        _sync(part)
        os.replace(part, path)
        for folder in (path.parent, *(each.parent for each in made)):
            _sync(folder)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        reason = error.strerror or str(error)
        raise OSError(f"Could not write {path} ({reason}): choose a place that is writable and has space.") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        if held is not None:
            os.close(held)


def _hold(part: Path) -> int | None:
    """Makes the file and locks it, which says until the death of this process that it is being written."""
    while fcntl is not None:
        held = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        if part.exists():
            return held
        os.close(held)  # another process took it for a left-over before it was locked
    return None


def _sweep(folder: Path) -> None:
    """Removes, once a process, what killed runs left: files of which nobody holds the lock."""
    key = os.path.abspath(folder)
    if fcntl is None or key in _swept:
        return
    _swept.add(key)
    for left in folder.glob(".fex-*.part"):
        with suppress(OSError):  # it is being written, or gone
            held = os.open(left, os.O_RDWR)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
            finally:
                os.close(held)


def _sync(path: Path) -> None:
    """Waits until a file, or what a folder lists, is on the disk."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
            raise
    finally:
        os.close(handle)


@contextmanager
def claimed(folder: str | Path, seconds: float = PATIENCE) -> Iterator[None]:
    """Keeps other runs out of `folder`, which is made, for as long as this lasts or this process lives.

    A run that wrote nothing there leaves nothing, a folder that was made neither.

    Args:
        folder: of a run's results.
        seconds: to wait for one that holds it.

    Raises:
        FileExistsError: another run writes there.
        OSError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # where files are only read it is not needed

    folder = Path(folder)
    path = folder / ".fex.lock"
    lock, made = FileLock(path), [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        while not (lock.is_locked and path.exists()):  # one that left nothing took away the file that was waited for
            lock.release()
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=seconds)
    except Timeout:
        raise FileExistsError(
            f"Another run is writing to {folder}, and the results of two would be mixed: let it finish, stop it, or "
            "write elsewhere."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"Could not write to {folder} ({reason}): choose a folder that is writable.") from error
    held = path.stat()
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps a file that is open
            # Where the folder was removed, another run may have made it anew, with a lock of its own.
            if os.path.samestat(held, path.stat()) and len(list(islice(folder.iterdir(), 2))) == 1:
                path.unlink()
                for each in made:  # the innermost first
                    each.rmdir()
        lock.release()
