"""The flags of `fex-train --init` that say how a language model is asked."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

__all__ = ["PROMPT_FLAGS", "prompt_arguments", "refuse_prompt_flags"]

PROMPT_FLAGS = ("model", "template", "labels", "token_env")
NEEDED = PROMPT_FLAGS[:3]
EXAMPLE = '--model my-model --template "Review: {text} Is it good? Answer yes or no:" --labels no,yes'


def _called(names: list[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def refuse_prompt_flags(asked: Namespace) -> None:
    """For boxes that are no language models.

    Raises:
        ValueError: flags that such a box does not take; names them.
    """
    if given := [name for name in PROMPT_FLAGS if getattr(asked, name) is not None]:
        raise ValueError(
            f"{_called(given)}: only for language models, whose address ends in /completions or /chat/completions, not "
            f"for {asked.black_box!r}. Leave it out."
        )


def prompt_arguments(asked: Namespace, *, texts: bool) -> dict[str, Any]:
    """Arguments of `fex.black_box.PromptBlackBox`, plain data.

    Raises:
        ValueError: flags that are missing, or that a language model does not take; data that are no texts.
    """
    if lacking := [name for name in NEEDED if getattr(asked, name) is None]:
        raise ValueError(
            f"{asked.black_box!r} is a language model, and {_called(lacking)} is missing: say which model is asked, by "
            f"which prompt, and one word a class, such as {EXAMPLE}"
        )
    others = {"weights": None, "outputs": None, "prompts": None, "multi_label": False, "trust": False}
    if given := [name for name, unused in others.items() if getattr(asked, name) != unused]:
        raise ValueError(f"{_called(given)}: not for language models, which answer with a word a class. Leave it out.")
    if not texts:
        raise ValueError(f"{asked.black_box!r} is a language model, the data holds no texts: give a file of texts.")
    if isinstance(asked.classes, int) and asked.classes != len(asked.labels):
        raise ValueError(f"Got --classes {asked.classes} and {len(asked.labels)} --labels, expected one a class.")
    found = {"url": asked.black_box, "model": asked.model, "template": _template(asked.template)}
    found |= {"labels": asked.labels, "tokenizer": asked.tokenizer}
    found |= {"class_names": asked.classes} if isinstance(asked.classes, list) else {}
    return found | ({} if asked.token_env is None else {"token_env": asked.token_env})


def _template(word: str) -> str:
    r"""The prompt itself, with \n for a break of the line, or the content of a file."""
    if "{text}" not in word and os.path.isfile(word):  # noqa: PTH113 Path's own fails for long words
        return Path(word).read_text(encoding="utf-8").rstrip("\n")
    return word.replace("\\n", "\n")
