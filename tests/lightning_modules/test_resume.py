"""A run that was killed, stopped or starved goes on from its last checkpoint as if nothing had happened."""

import os
import resource
import signal

import pytest
import torch

from fex.cli.train.checkpoint_io import SafeCheckpointIO
from tests.lightning_modules.processes import fex_train, finish, start, wait_for
from tests.shrink import load, shrink, written

BATCHES = 9 * 3  # 72 pictures by 8, three epochs


def config(folder, weights_folder, **changes):
    """The quickstart, small: schedule, mask noise, order, augmentation, momenta, all of which a resume must restore."""
    found = shrink(load("quickstart"), weights_folder, batch_size=8)
    found["data"]["init_args"] |= {"num_train": 72, "num_val": 8}
    found["model"]["init_args"] |= {"inner_epochs": 2}
    trainer = found["trainer"]
    for key in list(trainer):
        if key.startswith("limit_"):
            del trainer[key]
    trainer |= {"max_epochs": 3, "num_sanity_val_steps": 0, "enable_model_summary": False, **changes}
    trainer["logger"]["init_args"] |= {"save_dir": str(folder), "name": "run"}
    trainer["callbacks"] = trainer["callbacks"][:1]
    trainer["callbacks"][0]["init_args"] |= {"dirpath": str(folder / "run"), "every_n_train_steps": 4}
    return written(found, folder / "config.yaml")


def result(folder):
    return torch.load(folder / "run" / "last.ckpt", weights_only=True)


def assert_same_end(found, expected):
    assert found["global_step"] == expected["global_step"] == 2 * BATCHES
    assert found["epoch"] == expected["epoch"]
    for name, tensor in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], tensor), name
    assert found["lr_schedulers"] == expected["lr_schedulers"]
    for index, state in expected["optimizer_states"][0]["state"].items():
        assert all(torch.equal(found["optimizer_states"][0]["state"][index][key], state[key]) for key in state)


def resumed(folder):
    argv = ["--config", str(folder / "run" / "config.yaml"), "--ckpt_path", str(folder / "run" / "last.ckpt")]
    return start(fex_train, *argv, log=folder / "log2")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One unbroken run; others, ended in their middle by signals, two of them then resumed."""
    root = tmp_path_factory.mktemp("resume")
    folders = {name: root / name for name in ("whole", "SIGKILL", "SIGTERM", "SIGINT")}
    codes, at = {}, {}
    for folder in folders.values():
        folder.mkdir()
    whole = start(fex_train, "--config", config(folders["whole"], root), log=folders["whole"] / "log")
    for name in ("SIGKILL", "SIGTERM", "SIGINT"):
        folder, log = folders[name], folders[name] / "log"
        path, last = config(folder, root), folder / "run" / "last.ckpt"
        process = start(fex_train, "--config", path, log=log)
        # Not at a checkpoint by chance: after one that is neither the first nor at an epoch's end.
        wait_for(lambda folder=folder: list((folder / "run").glob("epoch=1-step=2[48].ckpt")), process, log)
        os.kill(process.pid, getattr(signal, name))
        codes[name] = finish(process, log)
        at[name] = torch.load(last, weights_only=True)
    codes["whole"] = finish(whole, folders["whole"] / "log")
    for name, process in {name: resumed(folders[name]) for name in ("SIGKILL", "SIGTERM")}.items():
        codes[f"resumed {name}"] = finish(process, folders[name] / "log2")
    return folders, codes, at


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow)])
def test_resumed_run_ends_with_the_weights_of_an_unbroken_one(runs, name):
    folders, codes, at = runs
    if name == "SIGINT":  # saved as at SIGTERM, which the other tests go on from
        codes["resumed SIGINT"] = finish(resumed(folders[name]), folders[name] / "log2")
    assert codes["whole"] == codes[f"resumed {name}"] == 0, (folders[name] / "log2").read_text()[-3000:]
    assert 0 < at[name]["global_step"] < 2 * BATCHES
    assert_same_end(result(folders[name]), result(folders["whole"]))


def test_resumed_run_goes_on_counting_queries(runs):
    folders, _, at = runs
    # The reward needs no blank input: 5 queries a picture, and 1 more where its clean answer is not remembered; what
    # resumes remembers none. Validation asks, too, but is no part of training.
    pictures = at["SIGTERM"]["global_step"] // 2 * 8
    assert pictures * 5 < at["SIGTERM"]["fex_queries"] <= pictures * 6
    whole, resumed = (result(folders[name])["fex_queries"] for name in ("whole", "SIGTERM"))
    assert whole <= resumed <= whole * 6 / 5


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_saves_first_and_ends_cleanly(runs, name, code):
    folders, codes, at = runs
    log = (folders[name] / "log").read_text()
    assert codes[name] == code
    assert f"Stopped at step {at[name]['global_step']}: saved " in log
    assert "Traceback" not in log
    assert codes["SIGKILL"] == -signal.SIGKILL


def test_resuming_says_what_comes_from_where(runs):
    folders, _, _ = runs
    assert "optimiser state (its learning rate too)" in (folders["SIGKILL"] / "log2").read_text()


def starve(path, limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    SafeCheckpointIO().save_checkpoint({"new": torch.zeros(100_000)}, path)


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    SafeCheckpointIO().save_checkpoint({"old": torch.ones(3)}, path)
    log = tmp_path / "log"
    assert finish(start(starve, str(path), 20_000, log=log), log) == 1
    assert f"Could not write {path}" in log.read_text()
    assert "choose a place that is writable and has space" in log.read_text()
    assert torch.equal(SafeCheckpointIO().load_checkpoint(path)["old"], torch.ones(3))
    assert sorted(os.listdir(tmp_path)) == ["last.ckpt", "log"]


def die_while_writing(path):
    def save(checkpoint, part):
        with open(part, "wb") as file:
            file.write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save
    SafeCheckpointIO().save_checkpoint({}, path)


def test_death_while_writing_leaves_the_last_checkpoint(tmp_path):
    path, log = tmp_path / "last.ckpt", tmp_path / "log"
    SafeCheckpointIO().save_checkpoint({"old": torch.ones(3)}, path)
    assert finish(start(die_while_writing, str(path), log=log), log) == -signal.SIGKILL
    assert torch.equal(SafeCheckpointIO().load_checkpoint(path)["old"], torch.ones(3))


class _Code:
    def __reduce__(self):
        return os.mkdir, ("tampered",)


@pytest.mark.parametrize("content", [{"fex": _Code()}, None], ids=["code", "broken"])
def test_a_checkpoint_that_is_none_is_refused(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.ckpt"
    torch.save(content, path) if content else path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"bad\.ckpt could not be read as a checkpoint without running code from it"):
        SafeCheckpointIO().load_checkpoint(path)
    assert not (tmp_path / "tampered").exists()
