"""Any Python function of texts as a black box."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.callable import resolve_function
from fex.black_box.scores import Outputs, check_outputs, to_probabilities
from fex.black_box.text import TextInputs
from fex.texts.backbone import load_tokenizer

__all__ = ["TextCallableBlackBox"]


class TextCallableBlackBox(TextInputs):
    """A function of texts as a black box.

    The function gets a list of R texts, R <= `chunk`, in which removed tokens are mask tokens or left out, and returns
    scores (R, C) as a tensor, an array or nested lists. A tokenizer says what the features are; the texts are put
    together from its tokens, so that case and spaces are those that it keeps.

    Args:
        function: the function, or "package.module:function". Importing runs that module's code: name only code that
            you would run.
        tokenizer: whose tokens are the features: a shipped backbone, local folder or hub id.
        class_names: names of the classes, in the order of the scores.
        num_classes: C; needed only without `class_names`.
        outputs: what the function returns; logits go through softmax (sigmoid where `multi_label`).
        max_length: most tokens of a text.
        chunk: most texts a call.
        multi_label: classes are not exclusive.
        name: how errors and reports call it; by default the function's.
    """

    def __init__(
        self,
        function: str | Callable[[list[str]], Any],
        tokenizer: str = "minilm",
        class_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        outputs: Outputs = "probabilities",
        max_length: int | None = None,
        chunk: int = 256,
        multi_label: bool = False,  # noqa: FBT001, FBT002 a YAML key
        name: str | None = None,
    ) -> None:
        check_outputs(outputs)
        self._function, named = resolve_function(function, type(self).__name__)
        preprocess: Any = load_tokenizer(tokenizer, max_length=max_length)
        BlackBox.__init__(
            self,
            class_names=class_names,
            num_classes=num_classes,
            preprocess=preprocess,
            chunk=chunk,
            multi_label=multi_label,
            name=name or named,
        )
        self.outputs: Outputs = outputs
        self.tokenizer = tokenizer

    def _score(self, inputs: Tensor) -> Tensor:
        scores = self._function([self.preprocess.decode(row) for row in inputs])
        scores = torch.as_tensor(scores, device=inputs.device)
        return to_probabilities(scores, outputs=self.outputs, multi_label=self.multi_label, name=self.name)
