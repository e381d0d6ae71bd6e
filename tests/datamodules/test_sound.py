"""Sound datamodules on made-up folders: folds, intervals, what cannot be read."""

import csv

import pytest
import torch

from datamodules import ESC10, NoisePadding, SoundFolder, SpectrogramAugment
from fex.images import Preprocess
from fex.sounds import write_wav
from tests.datamodules.sounds import MEL, RATE, coswara_folder, esc10_folder

pytest.importorskip("soundfile")
PADDING = NoisePadding(0.1, 0.4)


def esc10(root, **options):
    return ESC10(str(root), **{"seconds": 0.5, "log_mel": MEL, "padding": PADDING, "batch_size": 2, **options})


def test_four_folds_train_and_the_fifth_is_held_out(tmp_path):
    data = esc10(esc10_folder(tmp_path / "esc"), fold=2)
    data.setup("fit")
    names = {part: [row["names"] for row in data.datasets[part]] for part in ("train", "test")}
    assert all(name.startswith("audio/2-") for name in names["test"])
    assert len(names["train"]) == 8
    assert not set(names["train"]) & set(names["test"])
    assert data.class_names == ["tone 0", "tone 1"]
    assert data.datasets["val"] is data.datasets["test"]


def test_rows_have_the_interval_of_the_clip_and_never_change(tmp_path):
    data = esc10(esc10_folder(tmp_path / "esc"), waveforms=True)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    frames = MEL.frames(RATE)  # 0.5 s and 0.5 s of noise
    assert batch["inputs"].shape == (2, 3, 8, frames)
    assert batch["masks"].shape == (2, 8, frames)
    assert batch["waveforms"].shape == (2, RATE)
    assert batch["labels"].tolist() == [0, 1]
    inside = batch["masks"][:, 0].sum(1)
    assert ((inside >= 15) & (inside <= 16)).all()  # half a second is 15.6 frames
    loud = torch.stack(
        [x[0][:, m[0]].mean() - x[0][:, ~m[0]].mean() for x, m in zip(batch["inputs"], batch["masks"], strict=True)]
    )
    assert (loud != 0).all()
    again = esc10(tmp_path / "esc", waveforms=True)
    again.setup("test")
    assert torch.equal(again.datasets["test"][1]["inputs"], batch["inputs"][1])
    other = esc10(tmp_path / "esc", padding=NoisePadding(0.1, 0.4, seed=1))
    other.setup("test")
    assert not torch.equal(other.datasets["test"][1]["inputs"], batch["inputs"][1])


def test_clips_beyond_the_room_for_them_are_read_again(tmp_path, monkeypatch):
    esc10_folder(tmp_path / "esc")
    kept, read = esc10(tmp_path / "esc"), esc10(tmp_path / "esc")
    kept.setup("test")
    monkeypatch.setattr("datamodules.sound.KEPT", 1)
    read.setup("test")
    for _ in range(2):
        assert torch.equal(kept.datasets["test"][0]["inputs"], read.datasets["test"][0]["inputs"])
    assert (len(kept.datasets["test"]._kept), len(read.datasets["test"]._kept)) == (1, 0)


def test_without_padding_the_whole_clip_is_the_event(tmp_path):
    data = esc10(esc10_folder(tmp_path / "esc"), padding=None)
    data.setup("test")
    row = data.datasets["test"][0]
    assert row["masks"][:, :-1].all()
    assert "waveforms" not in row


def test_unreadable_silent_and_short_clips(tmp_path, caplog):
    root = esc10_folder(tmp_path / "esc")
    (root / "audio" / "5-0.wav").write_bytes(b"no sound")
    write_wav(root / "audio" / "5-1.wav", torch.zeros(20), RATE)
    data = esc10(root)
    data.setup("test")
    bad, silent = data.datasets["test"][0], data.datasets["test"][1]
    assert (bad["valid"], silent["valid"]) == (False, True)
    assert not silent["inputs"].any()
    assert data.skipped["test"] == 1
    assert "Skipped a clip that cannot be read: audio/5-0.wav" in caplog.text
    data.teardown("test")
    assert "1 clips of the test data could not be read" in caplog.text


def test_clips_of_which_none_can_be_read_are_refused(tmp_path):
    root = esc10_folder(tmp_path / "esc")
    for clip in (root / "audio").iterdir():
        clip.write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"None of the \d+ clips in .*esc.* can be read \(audio/"):
        esc10(root).setup("fit")


def test_errors_of_esc10(tmp_path):
    with pytest.raises(ValueError, match=r"folds 1 \.\.\. 5, got fold=6"):
        esc10(tmp_path, fold=6)
    with pytest.raises(FileNotFoundError, match=r"meta\.csv nor .*esc50\.csv"):
        esc10(tmp_path).setup("fit")
    data = esc10(esc10_folder(tmp_path / "esc"), preprocess=Preprocess(8, 8))
    with pytest.raises(ValueError, match=r"8 bands and 32 frames, the black box takes \(8, 8\)"):
        data.setup("fit")


def test_annotated_events_are_the_masks(tmp_path):
    data = SoundFolder(str(coswara_folder(tmp_path / "cos")), "cough", 1.0, log_mel=MEL, batch_size=2)
    data.setup("test")
    assert data.class_names == ["healthy", "positive"]
    assert [len(data.datasets[part]) for part in ("train", "test")] == [4, 2]
    row = data.datasets["test"][0]  # clip 4: cough from 0.4 to 0.65 s
    seconds = torch.arange(row["masks"].shape[1]) * MEL.hop / RATE
    assert torch.equal(row["masks"][0], (seconds >= 0.4) & (seconds < 0.65))
    silence = SoundFolder(str(tmp_path / "cos"), "silence", 1.0, log_mel=MEL)
    silence.setup("test")
    assert int(silence.datasets["test"][0]["masks"][0].sum()) == 3


def test_errors_of_annotated_folders(tmp_path):
    root = coswara_folder(tmp_path / "cos")
    with pytest.raises(ValueError, match="no event 'sneeze'; it has cough, silence"):
        SoundFolder(str(root), "sneeze", 1.0).setup("fit")
    with (root / "annotations.csv").open("a", newline="") as file:
        csv.writer(file).writerow(["who.wav", 0, 1, "cough"])
    with pytest.raises(ValueError, match="line 14 names 'who.wav', which has no label"):
        SoundFolder(str(root), "cough", 1.0).setup("fit")
    for start, end in (("x", "1"), ("0.5", "0.2"), ("-1", "2"), ("nan", "1"), ("0", "")):
        (root / "annotations.csv").write_text(f"file,start,end,event\n0.wav,{start},{end},cough\n")
        with pytest.raises(ValueError, match=f"annotations.csv line 2 has an interval from '{start}' to '{end}'"):
            SoundFolder(str(root), "cough", 1.0).setup("fit")
    (root / "annotations.csv").write_text("file,start\n0.wav,1\n")
    with pytest.raises(ValueError, match="no column end, event"):
        SoundFolder(str(root), "cough", 1.0).setup("fit")
    whole = (root / "labels.csv").read_text()
    for labels, missing in (("file,label\n0.wav\n", "label"), ("file,label,split\n0.wav,healthy\n", "split")):
        (root / "labels.csv").write_text(labels)
        with pytest.raises(ValueError, match=f"labels.csv line 2 has no {missing}: is it cut off"):
            SoundFolder(str(root), None, 1.0).setup("fit")
    (root / "labels.csv").write_text(whole)
    (root / "annotations.csv").unlink()
    with pytest.raises(FileNotFoundError, match="it should have the columns"):
        SoundFolder(str(root), "cough", 1.0).setup("fit")
    with pytest.raises(ValueError, match="seconds=0"):
        SoundFolder(str(root), "cough", 0)


def test_a_checkout_of_esc50_has_the_clips_of_esc10(tmp_path):
    root = esc10_folder(tmp_path / "esc", classes=3)
    names = ["rooster", "rain", "airplane"]
    rows = list(csv.DictReader((root / "meta.csv").open()))
    (root / "meta.csv").unlink()
    (root / "meta").mkdir()
    with (root / "meta" / "esc50.csv").open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file)
        table.writerow(["filename", "fold", "target", "category", "esc10"])
        for row in rows:
            label = int(row["label"])
            table.writerow([row["filename"], row["fold"], 40 - label, names[label], str(label < 2)])
    data = esc10(root)
    data.setup("test")
    assert data.class_names == ["rain", "rooster"]
    assert {row["names"][-5]: row["labels"] for row in data.datasets["test"]} == {"0": 1, "1": 0}


def test_tables_of_esc10_without_what_they_need(tmp_path):
    root = esc10_folder(tmp_path / "esc")
    (root / "meta.csv").write_text("filename,fold\n1-0.wav,1\n")
    with pytest.raises(ValueError, match="no column category, label"):
        esc10(root).setup("fit")


def test_clips_without_annotations_have_no_interval(tmp_path):
    root = coswara_folder(tmp_path / "cos")
    (root / "annotations.csv").unlink()
    data = SoundFolder(str(root), None, 1.0, log_mel=MEL, batch_size=2)
    data.setup("test")
    assert not data.datasets["test"][0]["masks"].any()


def test_augmented_spectrograms_are_rolled_and_silenced():
    inputs = torch.rand(4, 3, 8, 30) + 0.1
    untouched = torch.zeros(4, 5)
    assert torch.equal(SpectrogramAugment()(inputs, untouched), inputs)
    rolled = SpectrogramAugment()(inputs, torch.tensor([[0.5, 0, 0, 0, 0]]).expand(4, -1))
    assert torch.equal(rolled, inputs.roll(-15, 3))
    most = SpectrogramAugment(3, 10)(inputs, torch.tensor([[0, 0.99, 0.5, 0.99, 0.5]]).expand(4, -1))
    assert int((most[0, 0].sum(1) == 0).sum()) == 3
    assert int((most[0, 0].sum(0) == 0).sum()) == 10
    with pytest.raises(ValueError, match="must not be negative"):
        SpectrogramAugment(-1)


def test_labels_are_counted_whatever_their_numbers(tmp_path):
    """ESC-50's own numbers of a few classes: the box's classes are counted from 0."""
    root = esc10_folder(tmp_path / "esc")
    text = (root / "meta.csv").read_text().replace(",1,tone 1", ",41,tone 1").replace(",0,tone 0", ",10,tone 0")
    (root / "meta.csv").write_text(text)
    data = esc10(root)
    data.setup("fit")
    assert data.class_names == ["tone 0", "tone 1"]
    assert sorted({clip.label for clip in data.datasets["train"].clips}) == [0, 1]


def test_events_beyond_the_cut_are_told(tmp_path, caplog):
    root = coswara_folder(tmp_path / "cos")
    data = SoundFolder(str(root), "cough", 0.45, log_mel=MEL)
    data.setup("test")
    row, gone = data.datasets["test"][0], data.datasets["test"][1]  # coughs from 0.4 and from 0.5 s
    seconds = torch.arange(row["masks"].shape[1]) * MEL.hop / RATE
    assert torch.equal(row["masks"][0], (seconds >= 0.4) & (seconds < 0.45))
    assert not gone["masks"].any()
    assert "5.wav has its events after 0.45 s, where clips are cut" in caplog.text
    assert "4.wav" not in caplog.text
