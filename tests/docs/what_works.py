"""The tables of docs/what-works.md, made of the lists that the tests of networks run through.

python -m tests.docs.what_works writes them into the page.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.families import TIMM, TRANSFORMERS
from tests.nets.test_families import ALL, NO_CLASS_HEAD, READABLE, VITS
from tests.texts.architectures import DECODERS, KINDS
from tests.texts.test_architectures import NO_GRADCAM, READ

PAGE = Path(__file__).parents[2] / "docs" / "what-works.md"
START, END = "<!-- tables of the tests' lists -->", "<!-- end of the tables -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] + [":---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tick(works: bool) -> str:  # noqa: FBT001
    """What stands in a cell."""
    return "✓" if works else "–"


def tables() -> str:
    """All of them, with their headings."""
    nets = [
        (f"`{name}`", tick(name in VITS), "✓", tick(name not in NO_CLASS_HEAD), "✓", tick(name in READABLE))
        for name in ALL
    ]
    texts = [
        (f"`{kind}`", "✓", "✓", tick(kind not in NO_GRADCAM), tick(kind in READ), tick(kind in DECODERS))
        for kind in KINDS
    ]
    parts = [
        "## Pictures: networks of timm",
        table(
            ("model", "token encoder", "pyramid encoder", "class head", "GradCAM, gradients", "AttLRP, rollout"), nets
        ),
        "## Pictures: black boxes of timm",
        table(("family", "tested as", "black box"), [(name, f"`{f.model}`", "✓") for name, f in TIMM.items()]),
        "## Pictures: black boxes of transformers",
        table(
            ("family", "class", "black box"),
            [(name, f"`{f.model or f.config + 'ForImageClassification'}`", "✓") for name, f in TRANSFORMERS.items()],
        ),
        "## Texts: networks of transformers",
        table(("kind", "black box", "encoder", "TokenGradCAM", "AttLRP, rollout", "a decoder"), texts),
    ]
    return "\n\n".join(parts)


def written(page: str) -> str:
    """The page with the tables of today."""
    before, rest = page.split(START)
    return f"{before}{START}\n\n{tables()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
