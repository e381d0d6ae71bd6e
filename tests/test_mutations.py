"""Thousands of damaged files of each kind: one sentence or the same answer, never a raw error, another number, a hang.

FEX_MUTATIONS sets how many of each kind (2,000).
"""

import json
import os
import random
import resource
import signal
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import fex
from fex import load_black_box
from fex.cli.train import train
from fex.errors import BlackBoxError
from fex.explainers import export_explainer, load_explainer
from fex.storage.weights import save_black_box
from tests.explainers.tiny import write_checkpoint
from tests.shrink import load, shrink, written
from tests.storage.test_array_files import benchmark, instances
from tests.storage.test_weights import META, SMALL

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("FEX_MUTATIONS", "2000"))
SECONDS, MEGABYTES = 5, 512  # of this process's own time: others use the machine, too
HERE = Path(fex.__file__).parents[1]
CHUNK = 250  # mutants a process


def mutant(whole: bytes, draw: random.Random) -> bytes:
    """The same bytes with something flipped, cut, doubled, filled, inserted or exchanged."""
    data = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        place, length = draw.randrange(len(data)), draw.choice((1, 2, 4, 8, 64))
        match draw.randrange(8):
            case 0 | 1:
                data[place] ^= 1 << draw.randrange(8)
            case 2:
                data = data[: place + 1]
            case 3:
                data[place : place + length] = bytes([draw.choice((0, 0xFF, 0x20, 0x39))]) * length
            case 4:
                data[place:place] = bytes(draw.randrange(256) for _ in range(length))
            case 5:
                del data[place : place + length]
            case 6:
                data[place : place + length] = draw.choice(
                    (b"null", b"-1", b"1e999", b"9" * 30, b'"x"', b"[]", b"{}", b"[[[[", b"true", b"\xff\xfe", b"../")
                )
            case 7:
                other = draw.randrange(len(data))
                data[place : place + length] = data[other : other + length]
        data = data or bytearray(b"\0")
    return bytes(data)


def of_ours(error: BaseException) -> bool:
    """Whether an error is one of those that the command lines tell in a sentence, raised in this project's code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    ours = any(Path(frame.filename).is_relative_to(HERE / room) for room in ("fex", "lightning_modules", "datamodules"))
    return isinstance(error, (ValueError, OSError, ImportError, BlackBoxError)) and ours


class HangError(BaseException):
    """Caught by nobody on the way."""


def _hangs(*_):
    raise HangError


def outcome(read, *args):
    """What reading gives, or "told"; whatever else happens is raised."""
    for name, timer, seconds in (("SIGPROF", signal.ITIMER_PROF, SECONDS), ("SIGALRM", signal.ITIMER_REAL, 60)):
        signal.signal(getattr(signal, name), _hangs)
        signal.setitimer(timer, seconds)
    try:
        return read(*args)
    except SystemExit as error:
        if error.code != 2:
            raise
        return "told"
    except BaseException as error:
        if of_ours(error):
            return "told"
        raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def in_a_process(work) -> str:
    """The error of `work` in a process of its own, "" where there is none: a reader may also crash as a whole."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            torch.set_num_threads(1)
            work()
            answer = ""
        except BaseException:
            answer = traceback.format_exc()
        os.write(writing, answer[-3000:].encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return answer if status == 0 else f"ended by {status}: {answer}"


def check(path: Path, read, same: bool = True) -> None:
    """All mutants of the file at `path`; `same`: what is not told must be what the whole file gives."""
    whole, kept = path.read_bytes(), path.with_name(f"mutant-{path.name}")
    read()  # imports, which take time of their own
    expected = outcome(read)
    assert expected not in ("told", None)

    def some(first: int) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(first, min(first + CHUNK, COUNT)):
            changed = mutant(whole, random.Random(number))
            path.write_bytes(changed)
            try:
                found = outcome(read)
                assert not same or found in (expected, "told", None), "another answer"
            except BaseException:
                kept.write_bytes(changed)
                print(f"mutant {number}, kept at {kept}")
                raise
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024

    errors = [in_a_process(partial(some, first)) for first in range(0, COUNT, CHUNK)]
    path.write_bytes(whole)
    assert not any(errors), "\n".join(errors)


IMAGE = torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16)


def test_safetensors_of_a_black_box(tmp_path):
    path = tmp_path / "x.safetensors"
    save_black_box(path, timm.create_model("conv_vit_tiny", **SMALL), META)
    check(path, lambda: load_black_box(path)(IMAGE).numpy().tobytes())


def test_safetensors_of_an_explainer(tmp_path):
    path = tmp_path / "x.safetensors"
    export_explainer(write_checkpoint(tmp_path / "x.ckpt"), path)
    check(path, lambda: load_explainer(path).attribute(IMAGE, 0).numpy().tobytes())


def test_checkpoints(tmp_path):
    path = write_checkpoint(tmp_path / "x.ckpt")
    check(path, lambda: load_explainer(path).attribute(IMAGE, 0).numpy().tobytes())


@pytest.mark.parametrize("make", [benchmark, instances])
def test_files_of_stores(tmp_path, make):
    check(*make(tmp_path))


def test_settings_of_a_store(tmp_path):
    _, read = instances(tmp_path)

    def opened():
        from lightning_modules.instances.store import InstanceStore

        return InstanceStore(tmp_path, {"a": 1}).finished("a.png", "key") and read()

    check(tmp_path / "settings.json", opened)


def test_notes_and_earlier_reports(tmp_path):
    from fex.benchmark.store import ResultStore
    from fex.cli.bench.files import _earlier

    store = ResultStore(tmp_path)
    store.save_note("method", {"peak_mb": 3.5, "method": "a"})
    check(tmp_path / "method" / "method.json", lambda: bool(store.load_note("method").get("peak_mb", 1)), same=False)
    (tmp_path / "report.json").write_text(json.dumps({"rows": [], "curves": [], "black_box": "a", "data": "b"}))
    check(tmp_path / "report.json", lambda: _earlier(tmp_path) or "told", same=False)


def test_yaml_of_fex_train(tmp_path, capsys):
    path = Path(written(shrink(load("quickstart"), tmp_path), tmp_path / "x.yaml"))
    found = {}

    class Parsing(train.FexCLI):
        """Stops where the classes would be built; builds its parser, which takes longest, for every 50th run only."""

        runs, built = 0, {}

        def setup_parser(self, *args):
            if Parsing.runs % 50 == 0:
                before = set(self.__dict__)
                super().setup_parser(*args)
                Parsing.built = {key: value for key, value in self.__dict__.items() if key not in before}
            self.__dict__.update(Parsing.built)
            Parsing.runs += 1

        def before_instantiate_classes(self):
            found["config"] = self.config
            raise SystemExit(0)

    train.FexCLI, whole = Parsing, train.FexCLI

    def read():
        try:
            train.run(["--config", str(path)])
        except SystemExit as error:
            if error.code:
                raise
        return "parsed"

    try:
        check(path, read, same=False)
    finally:
        train.FexCLI = whole


def test_onnx(tmp_path):
    pytest.importorskip("onnxscript")
    net = timm.create_model("conv_vit_tiny", **SMALL).eval()
    path = tmp_path / "x.onnx"
    torch.onnx.export(net, (IMAGE,), str(path), dynamo=True, external_data=False, verbose=False)

    def read():
        return np.asarray(load_black_box(path, outputs="logits", threads=1)(IMAGE)).tobytes()

    check(path, read, same=False)  # the format has no digest
