"""Files of texts that users have: open quotes, other delimiters and encodings, headers and rows of many kinds."""

import codecs
import json
import logging
import re
import tracemalloc
from itertools import count

import pytest

from datamodules import Texts
from fex.texts import lines as text_lines
from fex.texts import read_records
from fex.texts.columns import text_column


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def good(records):
    return [record.text for record in records if record.text is not None]


def broken(records):
    return [(record.name, record.error) for record in records if record.text is None]


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("later", ["", '150,"fine, too"\n'], ids=["to the end", "to the next quote"])
def test_an_open_quote_breaks_its_own_line_alone(tmp_path, later):
    rows = [f"{number},text {number}\n" for number in range(3, 151)]
    path = write(tmp_path / "a.csv", 'id,text\n1,"oops never closed\n' + "".join(rows) + later)
    found = list(read_records(path))
    assert good(found) == [f"text {number}" for number in range(3, 151)] + (["fine, too"] if later else [])
    ((name, error),) = broken(found)
    assert name == "a.csv:2"
    lines = 148 + bool(later)
    assert f"a quote is not closed and takes {lines} more lines, to line {lines + 2}, which are read as rows" in error
    assert [record.name for record in found] == [f"a.csv:{number}" for number in range(2, lines + 3)]


def test_an_open_quote_on_the_last_line_takes_no_other(tmp_path):
    found = list(read_records(write(tmp_path / "a.csv", 'text\na gem\n"odd\n')))
    assert broken(found) == [("a.csv:3", "broken row: unexpected end of data")]


def test_an_open_quote_holds_a_bounded_part_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(text_lines, "LONGEST_ROW", 2000)
    path = write(tmp_path / "a.csv", 'id,text\n1,"oops\n' + "2,a good film\n" * 15_000)
    tracemalloc.start()
    try:
        stream = read_records(path)
        first = next(stream)
        assert sum(record.text == "a good film" for record in stream) == 15_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert first.name == "a.csv:2"
    assert "more than 2,000 characters; a quote is not closed and takes 143 more lines, to line 145" in first.error
    assert peak < 150_000  # bytes; the file has 210,000, its lines as strings 900,000


def test_quotes_that_are_open_on_every_line_are_read_a_few_times_only(tmp_path, monkeypatch):
    reads, step = count(), text_lines._Lines.__next__
    monkeypatch.setattr(text_lines._Lines, "__next__", lambda self: next(reads) and step(self) or step(self))
    path = write(tmp_path / "a.csv", "text,note\n" + 'a","b\n' * 1000)
    found = list(read_records(path))
    assert not good(found)
    *_, (name, error) = broken(found)
    start = int(name.split(":")[1])
    assert f"takes {1001 - start} more lines, to line 1001, which are left out" in error
    assert next(reads) < 25 * 1001


def test_rows_with_line_breaks_are_named_by_their_first_line(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"a\ngem",1\n\n"so\n\nodd",0\n"a\nb",1,2\nlast,1\n')
    found = list(read_records(path))
    assert [(record.name, record.text) for record in found] == [
        ("a.csv:2", "a\ngem"),
        ("a.csv:5", "so\n\nodd"),
        ("a.csv:8", None),
        ("a.csv:10", "last"),
    ]
    assert found[2].error == "3 fields, the header has 2 (lines 8 to 9)"


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("tabs.csv", "id\ttext\n1\ta good film\n", "id\ttext"),
        ("commas.tsv", "id,text\n1,a good film\n", "id,text"),
        ("semi.csv", "id;text\n1;a good film\n", "id;text"),
        ("bars.csv", "id|text\n1|a good film\n", "id|text"),
    ],
)
def test_another_delimiter_is_refused(tmp_path, name, content, column):
    path = write(tmp_path / name, content)
    for wanted in (None, "text"):
        message = re.escape(f"{name}: the header is one column {column!r}: is the delimiter another one")
        with pytest.raises(ValueError, match=message):
            list(read_records(path, column=wanted))
    assert len(good(read_records(path, column=column))) == 1


def test_an_only_column_of_another_name_is_told(tmp_path, caplog):
    assert good(read_records(write(tmp_path / "a.csv", "a good film\na bad film\n"))) == ["a bad film"]
    assert good(read_records(write(tmp_path / "a.jsonl", '{"note": "a gem"}'))) == ["a gem"]
    assert warnings(caplog) == [
        "a.csv: took its only column, 'a good film', for the texts. "
        "If that is a text, the file has no header: add one.",
        "a.jsonl: took its only column, 'note', for the texts.",
    ]
    caplog.clear()
    list(read_records(write(tmp_path / "b.csv", "note\na\n"), column="note"))
    list(read_records(write(tmp_path / "c.csv", "Review\na\n")))
    assert not warnings(caplog)


def test_bytes_that_are_not_utf8_are_counted(tmp_path, caplog):
    text = "text\na gem\ncafé – a film’s end\n\ufffd is UTF-8\nso’odd\n"
    path = write(tmp_path / "a.csv", text.encode().replace("\ufffd".encode(), b"?").decode().encode("cp1252"))
    assert good(read_records(path)) == ["a gem", "caf\ufffd \ufffd a film\ufffds end", "? is UTF-8", "so\ufffdodd"]
    (told,) = warnings(caplog)
    assert told.startswith("2 lines of a.csv hold bytes that are not UTF-8, the first is line 3: they are read as")
    assert told.endswith("Save the file as UTF-8.")
    caplog.clear()
    assert good(read_records(write(tmp_path / "b.csv", text)))[2] == "\ufffd is UTF-8"
    assert not warnings(caplog)
    next(read_records(write(tmp_path / "a.txt", b"caf\xe9\nmore\n")))
    assert "1 line of a.txt holds bytes" in warnings(caplog)[0]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf16_with_a_byte_order_mark_is_read(tmp_path, mark, caplog):
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    path = write(tmp_path / "a.csv", mark + "id,text\r\n1,café 😀\r\n2,電影\r\n".encode(encoding))
    assert good(read_records(path)) == ["café 😀", "電影"]
    assert not warnings(caplog)


def test_duplicate_columns_are_refused(tmp_path):
    path = write(tmp_path / "a.csv", "text,text,id,id\na,b,1,2\n")
    with pytest.raises(ValueError, match=r"a\.csv has 2 columns 'text'; it has .* Rename all but one"):
        list(read_records(path))
    path = write(tmp_path / "b.csv", "text,id,id,label,label\na,1,2,x,y\n")
    assert good(read_records(path)) == ["a"]  # columns that nobody asked for may have any names
    with pytest.raises(ValueError, match="has 2 columns 'label'"):
        list(read_records(path, label_column="label"))
    with pytest.raises(ValueError, match="has 2 columns 'text'"):
        list(read_records(write(tmp_path / "c.csv", "Text,TEXT\na,b\n")))


@pytest.mark.parametrize("header", ["ID,Text,Label", "id, text, label", " TEXT ,text,LABEL"])
def test_headers_are_compared_without_case_and_spaces_exact_first(tmp_path, header):
    path = write(tmp_path / "a.csv", f"{header}\nx,a gem,1\n")
    (record,) = read_records(path, label_column="label")
    assert (record.text, record.label) == ("a gem", "1")
    (named,) = read_records(path, column=" teXt" if "TEXT" not in header else "text")
    assert named.text == "a gem"
    row = dict(zip(header.split(","), ("x", "a gem", 1), strict=True))
    (record,) = read_records(write(tmp_path / "a.jsonl", json.dumps(row)), label_column="label")
    assert (record.text, record.label) == ("a gem", 1)
    assert text_column(header.split(","), "label", "it") == header.split(",")[2]


def test_a_broken_header_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"a\.csv:1 is no header with the names of the columns: broken row: "):
        list(read_records(write(tmp_path / "a.csv", '"text,label\na,1\n')))
    assert good(read_records(write(tmp_path / "b.csv", "\n\ntext\na\n"))) == ["a"]


def jsonl(path, *rows):
    return write(path, "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))


def test_the_column_of_a_jsonl_is_one_that_holds_a_string(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"label": 1}, {"text": "good film", "label": 0})
    assert good(read_records(path)) == ["good film"]
    path = jsonl(tmp_path / "b.jsonl", "{broken", {"id": 7, "label": 1}, {"id": 8, "text": "a gem"})
    found = list(read_records(path))
    assert good(found) == ["a gem"]
    assert [name for name, _ in broken(found)] == ["b.jsonl:1", "b.jsonl:2"]
    path = jsonl(tmp_path / "c.jsonl", {"text": 3, "review": "a gem"}, {"text": 4, "review": "odd"})
    assert good(read_records(path)) == ["a gem", "odd"]
    path = jsonl(tmp_path / "d.jsonl", *["{"] * 150, {"review": "a gem"}, '"so"', {"review": "odd"})
    assert good(read_records(path)) == ["a gem", "so", "odd"]
    with pytest.raises(ValueError, match=r"e\.jsonl does not say which column holds the texts; it has \['label'\]"):
        list(read_records(jsonl(tmp_path / "e.jsonl", {"label": 1}, {"label": 0})))


def test_columns_that_a_jsonl_does_not_have_are_mistakes(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", "{broken", {"text": "a gem", "label": 1})
    with pytest.raises(ValueError, match=r"a\.jsonl has no column 'nope'; it has \['text', 'label'\]"):
        list(read_records(path, column="nope"))
    with pytest.raises(ValueError, match=r"a\.jsonl has no column 'zz'; it has \['text', 'label'\]"):
        list(read_records(path, pair_column="zz"))
    (_, record) = read_records(path, label_column="kept back")
    assert (record.text, record.label) == ("a gem", None)


def test_the_data_module_reads_them_too(tmp_path):
    path = write(tmp_path / "a.csv", 'ID,Text,Label\n1,"oops,0\n2,a gem,1\n')
    found = Texts(train=str(path), label_column="label").read("train")
    assert (found.texts, found.labels) == (["a gem"], ["1"])
    assert [name for name, _ in found.broken] == ["a.csv:2"]
