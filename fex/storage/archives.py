"""Members of tar files, where they lie: nothing is unpacked."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fex.storage.tables import Unread

__all__ = ["TarMember", "tar_members"]

LONGEST_HEAD = 2**20  # bytes of a member's name and attributes; a header may say any number


class TarMember(NamedTuple):
    """A file in a tar file.

    Attributes:
        archive: the tar file.
        start: its first byte.
        size: in bytes.
        stamp: plain data that changes with the archive.
    """

    archive: Path
    start: int
    size: int
    stamp: Any

    def read(self) -> bytes:
        """Its content.

        Raises:
            OSError: the archive ends before.
        """
        with self.archive.open("rb") as file:
            file.seek(self.start)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(f"{self.size:,} bytes, and the archive ends after {len(content):,}")
        return content


class _Heads(io.FileIO):
    """A file of which only so much is read at once."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LONGEST_HEAD:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return super().read(size)


def tar_members(path: Path, most: int) -> Iterator[tuple[str, TarMember | Unread]]:
    """Names and places of the regular files of a tar, in order; links and the like are left out.

    A damaged archive ends with an entry without a name that says so.

    Args:
        path: of a tar that is not compressed.
        most: bytes of a member.
    """
    try:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        with _Heads(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            end = -1
            while (member := tar.next()) is not None:
                tar.members.clear()  # they would all be kept
                if member.size < 0 or tar.offset <= end:
                    raise tarfile.ReadError("a header says a size that leads back: the archive is damaged")
                end = tar.offset
                if member.isreg():
                    yield member.name, _place(path, member, stamp, most)
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes any other header for the end
                raise tarfile.ReadError("no header and no end where one must be: the archive is damaged or cut off")
    except Exception as error:  # damaged headers raise a dozen kinds
        yield "", Unread(f"not all of it can be read as a tar: {error or type(error).__name__}"[:300])


def _place(path: Path, member: tarfile.TarInfo, stamp: Any, most: int) -> TarMember | Unread:
    if member.sparse is not None:
        return Unread("a sparse file")
    if member.size > most:
        return Unread(f"{member.size:,} bytes, the limit is {most:,}")
    return TarMember(path, member.offset_data, member.size, stamp)
