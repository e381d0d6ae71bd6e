"""Pictures and texts of parquet files, tars and data sets, in tables: read where they lie, bad ones told."""

import io
import tarfile

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fex.cli.explain.explain import run
from tests.cli.explain.test_shares import tables
from tests.explainers.tiny import tiny_explainer, write_checkpoint

FLAGS = ["--device", "cpu", "--batch-size", "2", "--shard-size", "3"]


def encoded(number):
    file = io.BytesIO()
    Image.linear_gradient("L").rotate(40 * number).resize((24, 20)).convert("RGB").save(file, "png")
    return file.getvalue()


PICTURES = [encoded(number) for number in range(7)]
PICTURES[3] = b"broken"


def add(tar, name, content=b"", **fields):
    head = tarfile.TarInfo(name)
    head.size = len(content)
    for key, value in fields.items():
        setattr(head, key, value)
    tar.addfile(head, io.BytesIO(content))


def write_tar(path, pictures):
    with tarfile.open(path, "w") as tar:
        for number, content in enumerate(pictures):
            add(tar, f"{number}.png", content)
            add(tar, f"{number}.cls", b"1")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint("x.ckpt", tiny_explainer())
    (tmp_path / "photos").mkdir()
    for number, content in enumerate(PICTURES):
        (tmp_path / "photos" / f"{number}.png").write_bytes(content)
    run(["x.ckpt", "photos", *FLAGS, "--formats", "parquet", "--output", "wanted"])
    return tmp_path


def rows(folder):
    return [row for table in tables(folder).values() for row in table.to_pylist()]


def same_but_names(found, wanted, names):
    assert [row["file"] for row in found] == names
    for row, other in zip(found, wanted, strict=True):
        assert {**row, "file": ""} == {**other, "file": ""}


def test_pictures_of_parquet_files_and_tars(home):
    structs = [{"bytes": content, "path": "photos/0.png"} for content in PICTURES[:4]]  # the path is nobody's
    pq.write_table(pa.table({"label": [1] * 4, "image": structs}), "a.parquet", row_group_size=3)
    (home / "more").mkdir()
    pq.write_table(pa.table({"raw": PICTURES[4:6], "x": [b"", b""]}), "more/b.parquet")
    write_tar("c.tar", PICTURES[6:])
    with pytest.raises(ValueError, match=r"b.parquet has 2 columns of encoded pictures.*\['raw', 'x'\].*--column"):
        run(["x.ckpt", "a.parquet", "more", *FLAGS])
    pq.write_table(pa.table({"raw": PICTURES[4:6], "x": [1, 2]}), "more/b.parquet")
    given = ["x.ckpt", "a.parquet", "more", "c.tar", *FLAGS, "--output", "out"]
    summary = run(given)
    assert (summary.explained, summary.skipped) == (6, 1)
    names = [*(f"a.parquet#{n}" for n in range(4)), "more/b.parquet#0", "more/b.parquet#1", "c.tar#0.png"]
    same_but_names(rows(home / "out"), rows(home / "wanted"), names)
    (home / "out" / "explanations-00001.parquet").unlink()  # begins in the middle of a file, ends in the next
    assert run([*given, "--resume"]).done == 4
    same_but_names(rows(home / "out"), rows(home / "wanted"), names)
    pq.write_table(pa.table({"raw": PICTURES[5:7], "x": [1, 2]}), "more/b.parquet")
    with pytest.raises(ValueError, match="is of other inputs, or they have changed"):
        run([*given, "--resume"])


def test_processes_share_what_a_folder_of_tars_holds(home, monkeypatch):
    (home / "tars").mkdir()
    write_tar("tars/0.tar", PICTURES[:2])
    write_tar("tars/1.tar", PICTURES[2:])
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    written = []
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        run(["x.ckpt", "tars", *FLAGS, "--output", f"out{rank}"])
        written += tables(home / f"out{rank}").items()
    assert sorted(name for name, _ in written) == [f"explanations-0000{n}.parquet" for n in range(3)]
    found = [row for _, table in sorted(written, key=lambda each: each[0]) for row in table.to_pylist()]
    same_but_names(found, rows(home / "wanted"), [f"{n > 1:d}.tar#{n - 2 * (n > 1)}.png" for n in range(7)])


def test_bad_places_are_rows_with_a_reason(home):
    good = PICTURES[0]
    with tarfile.open("bad.tar", "w") as tar:
        add(tar, "../up.png", good)  # a name alone: nothing is written there
        add(tar, "link.png", type=tarfile.SYMTYPE, linkname="photos/0.png")
        add(tar, "__MACOSX/._0.png", b"x")
        add(tar, "last.png", good)
    whole = (home / "bad.tar").read_bytes()
    second = whole.index(b"last.png")
    (home / "cut.tar").write_bytes(whole[: second + 540])  # within the picture
    (home / "garbled.tar").write_bytes(whole[:second] + b"junk" * 128 + whole[second + 512 :])
    structs = [{"bytes": content, "path": "photos/0.png"} for content in (good, None, b"")]  # a path is not followed
    pq.write_table(pa.table({"image": structs}), "a.parquet")
    (home / "b.parquet").write_bytes(b"PAR1")
    run(["x.ckpt", "bad.tar", "cut.tar", "garbled.tar", "a.parquet", "b.parquet", *FLAGS, "--output", "out"])
    found = [(row["file"], row["error"]) for row in rows(home / "out")]
    reasons = dict(found)
    assert [name for name, _ in found] == [
        "bad.tar#../up.png", "bad.tar#last.png", "cut.tar#../up.png", "cut.tar#last.png", "cut.tar",
        "garbled.tar#../up.png", "garbled.tar", "a.parquet#0", "a.parquet#1", "a.parquet#2", "b.parquet",
    ]  # fmt: skip
    assert [name for name, error in found if error is None] == [
        "bad.tar#../up.png", "bad.tar#last.png", "cut.tar#../up.png", "garbled.tar#../up.png", "a.parquet#0",
    ]  # fmt: skip
    assert "the archive ends after" in reasons["cut.tar#last.png"]
    assert "the archive is damaged or cut off" in reasons["garbled.tar"]
    assert "null or empty" in reasons["a.parquet#1"]
    assert "cannot be read as parquet" in reasons["b.parquet"]
    with pytest.raises(ValueError, match="--formats png: pictures of tables and tars have no files"):
        run(["x.ckpt", "bad.tar", "--formats", "png"])


def test_a_damaged_group_of_rows_does_not_cost_the_others(home):
    pq.write_table(pa.table({"image": PICTURES[:6]}), "a.parquet", row_group_size=2, compression="none")
    content = bytearray((home / "a.parquet").read_bytes())
    place = pq.read_metadata("a.parquet").row_group(1).column(0)
    start = place.dictionary_page_offset or place.data_page_offset
    content[start : start + 20] = b"\xff" * 20
    (home / "a.parquet").write_bytes(content)
    run(["x.ckpt", "a.parquet", *FLAGS, "--output", "out"])
    errors = [row["error"] for row in rows(home / "out")]
    assert [error is None for error in errors] == [True, True, False, False, True, True]
    assert "its row group cannot be read" in errors[2]


@pytest.mark.parametrize("name", ["train.tar.gz", "train.TGZ", "train.tar.zst"])
def test_compressed_tars_are_told(home, name):
    (home / name).write_bytes(b"packed")
    with pytest.raises(ValueError, match="is a compressed tar"):
        run(["x.ckpt", name, *FLAGS, "--output", "out"])


def test_data_sets_that_were_saved(home):
    features = datasets.Features({"image": datasets.Image(), "n": datasets.Value("int64")})
    images = [{"bytes": content, "path": None} for content in PICTURES]
    data = datasets.Dataset.from_dict({"image": images, "n": list(range(7))}, features=features)
    data.save_to_disk("one")
    run(["x.ckpt", "one", *FLAGS, "--output", "out"])
    same_but_names(rows(home / "out"), rows(home / "wanted"), [f"one#{number}" for number in range(7)])
    datasets.DatasetDict({"train": data.select([0]), "test": data}).save_to_disk("two")
    with pytest.raises(ValueError, match="two has the splits train, test: name one, as two:train"):
        run(["x.ckpt", "two", *FLAGS])
    run(["x.ckpt", "two:test", *FLAGS, "--column", "image", "--output", "out"])
    same_but_names(rows(home / "out"), rows(home / "wanted"), [f"two:test#{number}" for number in range(7)])
    with pytest.raises(ValueError, match="Column 'n' of one holds int64, expected encoded pictures"):
        run(["x.ckpt", "one", *FLAGS, "--column", "n"])


def test_a_data_set_of_the_hub_is_asked_of_datasets(home, monkeypatch):
    asked, data = [], datasets.Dataset.from_dict({"image": PICTURES})
    monkeypatch.setattr(datasets, "load_dataset", lambda *given, **named: asked.append((given, named)) or data)
    run(["x.ckpt", "hf://datasets/me/birds/small:test", *FLAGS, "--output", "out"])
    assert set(map(str, asked)) == {str((("me/birds", "small"), {"split": "test"}))}
    same_but_names(rows(home / "out"), rows(home / "wanted"), [f"small:test#{number}" for number in range(7)])
