"""Where the members of a tar lie, and headers that say what cannot be."""

import io
import tarfile

import pytest

from fex.storage.archives import TarMember, tar_members
from fex.storage.tables import Unread


def write(path, *members, **options):
    with tarfile.open(path, "w", **options) as tar:
        for name, content, fields in members:
            head = tarfile.TarInfo(name)
            head.size = len(content)
            head.pax_headers = fields
            tar.addfile(head, io.BytesIO(content))
    return path


def test_contents_and_long_names(tmp_path):
    given = [("a.png", b"one", {}), ("d/" * 100 + "b.png", b"", {}), ("ä.png", b"x" * 5000, {})]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        found = list(tar_members(write(tmp_path / "a.tar", *given, format=form), 5000))
        assert [(name, place.read()) for name, place in found] == [(name, content) for name, content, _ in given]
    assert [type(place) for _, place in tar_members(tmp_path / "a.tar", 4999)] == [TarMember, TarMember, Unread]


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("size", [-512, -1024, -1536, -4096, 2**62])
def test_a_size_that_leads_nowhere_ends(tmp_path, size, before):
    members = [("a.png", b"one", {})] * before + [("b.png", b"two", {"size": str(size)})]
    found = list(tar_members(write(tmp_path / "a.tar", *members, format=tarfile.PAX_FORMAT), 100))
    assert len(found) <= 4
    assert found[-1][0] == ""
    assert isinstance(found[-1][1], Unread)


def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path):
    head = tarfile.TarInfo("x")
    head.type, head.size = tarfile.XHDTYPE, 2**32
    path = tmp_path / "a.tar"
    path.write_bytes(head.tobuf(tarfile.GNU_FORMAT))
    path.open("r+b").truncate(2**33)  # sparse on the disk
    [(name, place)] = tar_members(path, 100)
    assert name == ""
    assert "a header of 4,294,967,296 bytes" in place.reason


def test_no_tar_and_an_empty_one(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"junk" * 1000)
    [(_, place)] = tar_members(tmp_path / "a.tar", 1)
    assert "not all of it can be read as a tar" in place.reason
    assert list(tar_members(write(tmp_path / "b.tar"), 1)) == []
