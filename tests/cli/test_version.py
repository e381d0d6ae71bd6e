import re
import subprocess
import sys
from pathlib import Path

import pytest

import fex
from fex.cli import entry

PROGRAMS = ("train", "explain", "bench", "quickstart", "export", "serve", "demo")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_says_its_version(program, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"fex-{program}", "--version"])
    assert getattr(entry, program)() == 0
    assert capsys.readouterr().out == f"fex-{program} {fex.__version__}\n"


def test_it_does_without_torch():
    calls = "; ".join(f"entry.{program}()" for program in PROGRAMS)
    code = f"import sys; sys.argv = ['x', '--version']; from fex.cli import entry; {calls}; "
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count(fex.__version__) == len(PROGRAMS)


def test_entry_points_and_version_are_those_of_the_package():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert dict(re.findall(r'^fex-(\w+) = "fex\.cli\.entry:(\w+)"$', text, re.M)) == {name: name for name in PROGRAMS}
    assert re.search(r'^path = "fex/__init__.py"$', text, re.M)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", fex.__version__)
