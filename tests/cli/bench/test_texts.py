"""`fex-bench run` on texts: the page colours the words of the first texts by every method, also when resumed."""

import re
from html import unescape

import pytest
import torch
import yaml

from fex.baselines import Random
from fex.cli.bench import bench
from fex.storage.array_files import load_arrays, save_arrays

TEXTS = [
    "the film is a gem",
    "a <b>mess</b>",
    "so very odd and dull",
    "the plot was the gem and the actor a mess",
    "dull film",
]
CALLS: list[str] = []


def gem(texts):
    """Class 1 where the text has the word."""
    one = torch.tensor([0.9 if "gem" in text else 0.2 for text in texts])
    return torch.stack([1 - one, one], 1)


class Longest(Random):
    """The score of a token is its place, so that the last word is the strongest."""

    def attribute_features(self, inputs, target=None):  # noqa: ARG002
        CALLS.append("Longest")
        return torch.arange(inputs.shape[1]).expand(inputs.shape).float()


class Late(Longest):
    """Fails at the second batch."""

    def attribute_features(self, inputs, target=None):
        CALLS.extend(["Late"] * (len(inputs) == 2))  # not the single one before the clock starts
        if CALLS.count("Late") == 2:
            raise RuntimeError("out of luck")
        return super().attribute_features(inputs, target)


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    from tests.texts.tiny import text_folder

    folder = tmp_path_factory.mktemp("bench_text")
    rows = [f"{text}\t{int('gem' in text)}" for text in TEXTS]
    (folder / "test.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    methods = {name: {"class_path": f"{__name__}.{name}"} for name in ("Longest", "Late")}
    content = {
        "black_box": {
            "class_path": "fex.black_box.TextCallableBlackBox",
            "init_args": {"function": f"{__name__}:gem", "class_names": ["no", "yes"],
                          "tokenizer": text_folder(folder / "net")},
        },
        "data": {"class_path": "datamodules.SST2", "init_args": {"root": str(folder), "batch_size": 2}},
        "methods": methods | {"Broken": {"class_path": f"{__name__}.Nothing"}},
        "protocols": ["faithfulness"],
        "output": str(folder / "out"),
    }  # fmt: skip
    (folder / "benchmark.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder, ["run", "--config", str(folder / "benchmark.yaml")]


def blocks(folder):
    """Heading -> {method: (its words, the strongest word)}."""
    page = (folder / "out" / "report.html").read_text()
    assert "<b>" not in page
    found = {}
    for heading, lines in re.findall(r"<h3>(.*?)</h3>\s*<dl>(.*?)</dl>", page, re.DOTALL):
        lines = re.findall(r"<dt>(\w+) .*?<dd>(.*?)</dd>", lines, re.DOTALL)  # noqa: PLW2901
        found[re.sub("<[^>]*>", "", heading)] = {
            name: (
                unescape(re.sub("<[^>]*>", "", words)),
                unescape("".join(re.findall(r"calc\(1\.00 [^>]*>([^<]*)<", words))),
            )
            for name, words in lines
        }
    return found


def test_the_page_shows_every_method_on_the_same_texts_and_resumed_runs_too(argv):
    folder, flags = argv
    CALLS.clear()
    report = bench.run(flags)
    assert {row["method"] for row in report["rows"] if "error" in row} == {"Late", "Broken"}
    page = blocks(folder)
    assert len(page) == len(TEXTS)
    # From batches of several lengths, each text with its own tokens' scores.
    assert {lines["Longest"][0]: lines for lines in page.values()} == {
        text: {"Longest": (text, re.findall(r"\w+|\W", text)[-1])} for text in TEXTS
    }
    assert "test.tsv:2 · yes p = 0.900" in page
    assert "test.tsv:3 · no p = 0.800" in page
    assert not (folder / "out" / "pictures.png").exists()

    CALLS.clear()
    only = [*flags, "--methods", "Longest"]
    bench.run(only)
    assert CALLS == []
    assert blocks(folder) == page
    # Results that were kept without maps: only those are made, and the numbers stay.
    for path in (folder / "out" / "results").glob("*/*.npz"):
        meta, kept = load_arrays(path, lambda *found: found)
        save_arrays(path, meta, {name: values for name, values in kept.items() if name != "maps"})
    again = bench.run(only)
    assert CALLS
    assert blocks(folder) == page
    assert [r["seconds"] for r in again["rows"]] == [r["seconds"] for r in report["rows"] if r["method"] == "Longest"
                                                    and "error" not in r]  # fmt: skip


def test_a_limit_shows_no_more_texts_than_are_scored(argv):
    folder, flags = argv
    bench.run([*flags, "--methods", "Longest", "--limit", "1"])
    assert len(blocks(folder)) == 1
