"""`--ckpt_path`: weights and states come from the file, settings, classes, addresses and places never do."""

import http.server
import threading

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fex.cli.train.train import run
from tests.shrink import load, shrink, written


def two_epochs(folder):
    """Two epochs of nine batches, from a quickstart that saves at each step."""
    found = shrink(load("quickstart"), folder, batch_size=8)
    found["data"]["init_args"] |= {"num_train": 72, "num_val": 8}
    found["model"]["init_args"] |= {"decay": "constant", "warmup": 0.0}  # which a limit of steps would change
    trainer = found["trainer"]
    trainer |= {"max_epochs": 2, "num_sanity_val_steps": 0, "enable_model_summary": False, "logger": False}
    for key in list(trainer):
        if key.startswith("limit_"):
            del trainer[key]
    trainer["callbacks"] = trainer["callbacks"][:1]
    return found


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without a logger, the config is saved there
    return two_epochs(tmp_path)


def at(config, folder, **trainer):
    config["trainer"] |= trainer
    config["trainer"]["callbacks"][0]["init_args"]["dirpath"] = str(folder)
    return written(config, folder.parent / f"{folder.name}.yaml")


def changed(path, **entries):
    """A checkpoint like that at `path`, with other entries."""
    new = path.with_name("stranger.ckpt")
    torch.save({**torch.load(path, weights_only=True), **entries}, new)
    return str(new)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run of three steps: its command line and its last checkpoint, of which tests make others."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run(["--config", at(two_epochs(folder), folder / "run", max_steps=3)]), folder / "run" / "last.ckpt"


@pytest.fixture
def server():
    """Notes what it is asked, and with which token."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802 the server's name for it
            asked.append(self.headers.get("Authorization"))
            self.send_error(500)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}/", asked
        found.shutdown()


def test_a_stranger_s_checkpoint_names_no_class_address_or_variable(begun, config, tmp_path, server, monkeypatch):
    address, asked = server
    monkeypatch.setenv("SECRET_OF_MINE", "abc")
    first, last = begun
    box = {"class_path": "fex.black_box.HttpBlackBox",
           "init_args": {"url": address, "token_env": "SECRET_OF_MINE", "num_classes": 8}}  # fmt: skip
    function = {"class_path": "fex.black_box.CallableBlackBox", "init_args": {"function": "os:getcwd"}}
    for stages, settings in (
        (("fit", "validate"), {"black_box": box, "num_masks": 77}),
        (("test",), {"black_box": function, "_class_path": "os.system", "command": "true"}),
    ):
        stranger = changed(last, hyper_parameters=settings)
        for stage in stages:
            again = at(config, tmp_path / stage, max_steps=4)
            found = run([stage, "--config", again, "--ckpt_path", stranger])
            assert type(found.model.black_box) is type(first.model.black_box)
            assert found.model.num_masks == first.model.num_masks
    assert asked == []


def test_a_stranger_s_checkpoint_names_no_place_to_write_to_or_to_remove(config, tmp_path):
    path = at(config, tmp_path / "run", max_steps=4)
    run(["--config", path])
    last, precious = tmp_path / "run" / "last.ckpt", tmp_path / "precious.txt"
    precious.write_text("mine")
    found = torch.load(last, weights_only=True)["callbacks"]
    (key,) = (key for key in found if "ModelCheckpoint" in key)
    for name in ("last_model_path", "best_model_path", "kth_best_model_path"):
        found[key][name] = str(precious)
    found[key]["best_k_models"] = {str(precious): torch.tensor(-1.0)}
    again = run(["--config", path, "--ckpt_path", changed(last, callbacks=found), "--trainer.max_steps", "8"])
    assert precious.read_text() == "mine"
    (callback,) = (one for one in again.trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint))
    assert str(precious) not in (callback.last_model_path, callback.best_model_path, *callback.best_k_models)
    assert torch.load(last, weights_only=True)["global_step"] == again.trainer.global_step >= 8


@pytest.mark.parametrize(
    ("steps", "limits"),
    [
        pytest.param(5, [], marks=pytest.mark.slow),
        (5, ["--trainer.max_steps", "12"]),
        pytest.param(9, [], marks=pytest.mark.slow),
    ],
)
def test_a_limit_of_steps_in_mid_epoch_loses_nothing_of_the_epoch(config, tmp_path, steps, limits):
    whole = run(["--config", at(config, tmp_path / "whole")])
    part = run(["--config", at(config, tmp_path / "part", max_steps=steps)])
    assert part.trainer.fit_loop.epoch_loop.batch_progress.total.processed == steps
    last = str(tmp_path / "part" / "last.ckpt")
    again = ["--config", at(config, tmp_path / "part", max_steps=-1), "--ckpt_path", last]
    if limits:  # ended in mid-epoch twice
        run([*again, *limits])
    rest = run(again)
    counts = [one.trainer.fit_loop.epoch_loop.batch_progress.total.processed for one in (whole, rest)]
    assert counts == [18, 18]
    assert rest.trainer.current_epoch == whole.trainer.current_epoch == 2
    for mine, theirs in zip(rest.model.explainer.parameters(), whole.model.explainer.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert rest.trainer.global_step == whole.trainer.global_step


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"loops": {"fit_loop": {}}}, "states are damaged"),
        ({"loops": 3}, "has no `loops`"),
        ({"callbacks": []}, "has no `callbacks`"),
        ({"fex": {"net": 3}}, "net is 3, not a mapping"),
        ({"fex": {"class_names": ["a"]}}, "of another explainer"),
        ({"fex_queries": "many"}, "counts 'many' queries"),
    ],
)
def test_states_that_are_none_are_told(begun, config, tmp_path, entries, message):
    path = at(config, tmp_path / "run", max_steps=5)
    with pytest.raises(ValueError, match=message):
        run(["--config", path, "--ckpt_path", changed(begun[1], **entries)])


def test_two_runs_into_one_folder_are_refused(config, tmp_path, monkeypatch):
    from fex.storage import atomic

    monkeypatch.setattr(atomic.claimed.__wrapped__, "__defaults__", (0.0,))
    path = at(config, tmp_path / "run", max_steps=3)
    with (
        atomic.claimed(tmp_path / "run"),
        pytest.raises(FileExistsError, match=r"Another run is writing to .*run, and the results of two would be mixed"),
    ):
        run(["--config", path])
    run(["--config", path])
