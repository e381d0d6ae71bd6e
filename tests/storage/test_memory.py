"""glibc keeps freed memory, unless the user has said otherwise."""

import os
import subprocess
import sys

import pytest

CODE = """
import resource
from fex.storage.memory import keep_memory
done = keep_memory()
for _ in range(100):
    bytearray(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    bytearray(64_000_000 // 4)
print(int(done), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**variables):
    """Whether it was done, and the pages that 100 freed blocks of 16 MB cost."""
    free = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k not in ("LD_PRELOAD",)}
    found = subprocess.run(
        [sys.executable, "-c", CODE], env={**free, **variables}, capture_output=True, text=True, check=True
    )
    return tuple(map(int, found.stdout.split()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_pages_are_cleared_once():
    done, pages = faults(PYTHONMALLOC="malloc")
    if not done:
        pytest.skip("another C library")
    assert faults(FEX_MALLOC="system")[0] == 0
    assert faults(MALLOC_TRIM_THRESHOLD_="131072")[0] == 0  # the user's own choice stands
    assert pages < faults(PYTHONMALLOC="malloc", FEX_MALLOC="system")[1] / 2


def test_every_command_does_it(monkeypatch):
    from fex.cli import entry

    calls = []
    monkeypatch.setattr(entry, "keep_memory", lambda: calls.append("kept"))
    monkeypatch.setattr(entry, "import_module", lambda name: type("Module", (), {"main": lambda: calls.append(name)}))
    for program in ("explain", "quickstart"):
        monkeypatch.setattr(sys, "argv", [program, "x"])
        getattr(entry, program)()
    assert calls == ["kept", "fex.cli.explain", "kept", "fex.cli.quickstart"]
