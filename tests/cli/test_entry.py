"""The first page of help: at once, and true."""

import re
import subprocess
import sys

import pytest

from fex.cli import entry
from fex.cli.bench.bench import run as bench
from fex.cli.help_pages import bench_page, train_page
from fex.cli.train.train import run as train

HEAVY = ("torch", "lightning", "jsonargparse", "timm", "transformers", "PIL")


@pytest.mark.parametrize("program", ["entry.train", "entry.train --init", "entry.bench", "quickstart.main"])
def test_help_imports_nothing_that_takes_time(program):
    program, *words = program.split()
    module, _, name = program.partition(".")
    code = (
        f"import sys; sys.argv = ['x', *{words}, '--help']\nfrom fex.cli.{module} import {name} as f\n"
        f"try: f()\nexcept SystemExit: pass\nprint('HEAVY', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: " in done.stdout
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize(("page", "run", "full"), [(train_page, train, ["fit"]), (bench_page, bench, ["run"])])
def test_every_setting_of_the_page_is_one(page, run, full, capsys):
    """And the page that it names has all of them."""
    lines = [line for line in page().splitlines() if "--init" not in line]  # which has a page of its own
    named = set(re.findall(r"(?<= )--[a-z_.]+", "\n".join(lines))) - {"--help"}
    with pytest.raises(SystemExit):
        run([*full, "--help"])
    whole = capsys.readouterr().out
    known = {flag for flag in named if flag.startswith(("--model.", "--data.", "--methods.", "--json", "--images"))}
    assert [flag for flag in sorted(named - known) if flag not in whole] == []


@pytest.mark.parametrize("name", ["train", "bench"])
def test_no_arguments_are_no_run(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [f"fex-{name}"])
    with pytest.raises(SystemExit) as error:
        getattr(entry, name)()
    assert error.value.code == 2
    assert capsys.readouterr().err.startswith(f"usage: fex-{name}")


@pytest.mark.parametrize("name", ["train", "bench"])
def test_anything_else_goes_to_the_command_line(name, monkeypatch):
    called = []
    monkeypatch.setattr(f"fex.cli.{name}.main", lambda: called.append(name))
    monkeypatch.setattr("sys.argv", [f"fex-{name}", "run", "--help"])
    getattr(entry, name)()
    assert called == [name]
