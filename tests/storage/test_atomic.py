"""Files appear whole or not at all, stay there, and leave nothing behind; a folder has one run at a time."""

import os
import shutil
import signal
import stat

import pytest

from fex.storage import atomic
from fex.storage.atomic import claimed, replacing


def killed(work):
    """Does `work` in a process that is killed in its middle, or at its end."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def die_writing(path):
    with replacing(path) as part:
        part.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    monkeypatch.setattr(atomic, "_swept", set())


def test_what_was_written_is_on_the_disk_before_it_takes_its_place_and_so_is_the_folder(tmp_path, monkeypatch):
    found, replace = [], os.replace

    def fsync(handle):
        status = os.fstat(handle)
        found.append("folder" if stat.S_ISDIR(status.st_mode) else f"file of {status.st_size}")

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    monkeypatch.setattr(atomic.os, "replace", lambda *args: (found.append("replace"), replace(*args)))
    with replacing(tmp_path / "a" / "b" / "c.txt") as part:
        part.write_text("whole")
    # b, which lists the file; a, which lists b; and the one that lists a.
    assert found == ["file of 5", "replace", "folder", "folder", "folder"]


def test_the_next_run_removes_what_a_killed_one_left(tmp_path):
    killed(lambda: die_writing(tmp_path / "a.txt"))
    assert len(list(tmp_path.glob(".fex-*.part"))) == 1
    with replacing(tmp_path / "b.txt") as part:
        part.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == ["b.txt"]


def test_what_another_run_is_writing_stays(tmp_path, monkeypatch):
    with replacing(tmp_path / "a.txt") as part:
        part.write_text("whole")  # opened anew, as writers do
        monkeypatch.setattr(atomic, "_swept", set())
        with replacing(tmp_path / "b.txt") as other:
            other.write_text("too")
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(error):
        with replacing(path) as part:
            part.write_text("new")
            raise error

    with pytest.raises(KeyError):
        fail(KeyError())
    with pytest.raises(OSError, match=r"Could not write .*a\.txt \(No space left on device\)"):
        fail(OSError(28, "No space left on device"))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_run_that_writes_nothing_leaves_nothing(tmp_path):
    def fails(folder):
        with pytest.raises(RuntimeError), claimed(folder):
            raise RuntimeError

    (tmp_path / "mine").mkdir()
    fails(tmp_path / "a" / "b")
    fails(tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
    (tmp_path / "mine" / "result").touch()
    fails(tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [".fex.lock", "result"]


def test_a_run_whose_folder_was_removed_leaves_that_of_another_alone(tmp_path):
    old = claimed(tmp_path / "run")
    old.__enter__()
    shutil.rmtree(tmp_path / "run")
    with claimed(tmp_path / "run", seconds=0):
        old.__exit__(None, None, None)
        assert (tmp_path / "run" / ".fex.lock").is_file()
        with pytest.raises(FileExistsError), claimed(tmp_path / "run", seconds=0):
            pass


def test_a_folder_takes_one_run_at_a_time_and_the_next_after_a_kill(tmp_path):
    second = claimed(tmp_path / "run", seconds=0)
    with claimed(tmp_path / "run"), pytest.raises(FileExistsError, match=r"Another run is writing to .*run"):
        second.__enter__()
    with claimed(tmp_path / "run", seconds=0):
        pass

    def die():
        with claimed(tmp_path / "run"):
            os.kill(os.getpid(), signal.SIGKILL)

    killed(die)
    with claimed(tmp_path / "run", seconds=0):
        pass
