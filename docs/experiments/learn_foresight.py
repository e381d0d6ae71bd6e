"""Learns at no training what a shipped explainer of texts foresees of its misses, and tries it on other texts; SST-2.

    python docs/experiments/learn_foresight.py data/sst2 --output foresight.json

What a run of its own gets by the callback `lightning_modules.callbacks.Trust`: the box is asked 16 queries about each
sentence of dev.tsv; those of test.tsv say how well the misses of texts are foreseen that nothing was learnt from. The
file holds `fidelity` and `foresight` as the manifest of the checkpoints has them.
"""

import argparse
import csv
import json
from pathlib import Path

import fex
from fex.metrics.functional.correlation import class_correlation
from fex.refine import Experience
from fex.refine.foresight import signs, worst_tenth

BATCH = 32


def sentences(path: Path) -> list[str]:
    """Column `sentence` of a file of SST-2."""
    with path.open(encoding="utf-8") as file:
        return [row["sentence"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def experience(refined: fex.Refined, texts: list[str]) -> Experience:
    """What the queries say of each text's map; texts of like length share a pass."""
    found, explainer, preprocess = Experience(refined), refined.explainer, refined.black_box.preprocess
    rows = sorted((row.ids for row in preprocess.many(texts)), key=len)
    for first in range(0, len(rows), BATCH):
        inputs = preprocess.pad_batch(rows[first : first + BATCH])
        classes = refined.black_box(inputs).argmax(1)
        found.add(inputs, classes, explainer.attribute_features(inputs, classes), signs(explainer.net, inputs, classes))
    return found


def main() -> None:
    """Learns, tries, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--explainer", default="fex_minilm_sst2")
    parser.add_argument("--black-box", default="minilm_sst2")
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--test", type=int, default=600, help="sentences to try it on")
    parser.add_argument("--output", type=Path, default=Path("foresight.json"))
    given = parser.parse_args()
    box = fex.load_black_box(given.black_box, precision="bf16")
    refined = fex.Refined(fex.load_explainer(given.explainer), box, queries=given.queries)
    learnt = experience(refined, sentences(given.folder / "dev.tsv"))
    foresight, fidelity = learnt.foresight(), learnt.fidelity()
    assert foresight is not None
    given.output.write_text(json.dumps({"fidelity": fidelity, "foresight": foresight.to_dict()}))
    print(f"{foresight.inputs} texts: AUROC {foresight.auroc:.2f}, rank {foresight.rank_correlation:.2f}, {fidelity}")
    tried = experience(refined, sentences(given.folder / "test.tsv")[: given.test])
    told, missed = foresight(tried.signs), tried.misses[:, 0]
    rank = float(class_correlation(told[None], missed[None].float()))
    share = missed[told.argsort(descending=True)[: len(told) // 10]].sum() / missed.sum()
    print(f"{len(told)} others: AUROC {worst_tenth(told, missed):.2f}, rank {rank:.2f}, tenth holds {float(share):.0%}")


if __name__ == "__main__":
    main()
