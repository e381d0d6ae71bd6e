"""A text classifier of the transformers library as a black box: inputs are token ids."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fex.black_box.base import BlackBox
from fex.black_box.classes import chosen_names
from fex.black_box.network import PRECISIONS, TorchBlackBox
from fex.black_box.scores import both_logits, to_probabilities
from fex.texts.backbone import load_text_net
from fex.texts.features import Tokens
from fex.texts.text_net import text_body
from fex.texts.tokenized import Text
from fex.texts.tokenizer import TextPreprocess

__all__ = ["TextBlackBox", "TextInputs"]


class TextInputs(BlackBox):
    """What all boxes for texts share: inputs are ids (B, L), int64, padded on the right; the attention mask follows.

    A batch is scored in the order of its lengths, each chunk cut to its own longest text, so that padding costs little
    and the same text gets the same answer in any batch.
    """

    modality: ClassVar[str] = "text"
    preprocess: TextPreprocess  # type: ignore[assignment]

    @property
    def neutral(self) -> tuple[float, ...]:
        """(mask id, padding id)."""
        return self.preprocess.neutral

    @property
    def features(self) -> Tokens:
        """Each token that is not special."""
        return self.preprocess.features

    def tokenize(self, texts: Sequence[Text]) -> Tensor:
        """Texts as inputs (B, L), int64; what is too long is cut off."""
        return self.preprocess.pad_batch([row.ids for row in self.preprocess.many(texts)])

    def _check_inputs(self, inputs: Tensor) -> None:
        if inputs.ndim != 2 or inputs.dtype != torch.int64:
            raise ValueError(
                f"Black box {self.name!r} got inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}, expected "
                "token ids (B, L), int64; `.tokenize(texts)` gives them."
            )
        if inputs.shape[1] > self.preprocess.max_length:
            raise ValueError(
                f"Black box {self.name!r} got {inputs.shape[1]} tokens, at most {self.preprocess.max_length} fit: cut "
                "the text off, or explain it in windows."
            )
        known = (inputs >= 0) & (inputs < self.preprocess.vocabulary) | (inputs == self.preprocess.pad)
        if not bool(known.all()):
            raise ValueError(
                f"Black box {self.name!r} got ids in [{int(inputs.min())}, {int(inputs.max())}], its vocabulary has "
                f"{self.preprocess.vocabulary}: use its own tokenizer."
            )

    def _moved(self, part: Tensor) -> Tensor:
        return part[:, : _longest(part, self.preprocess.pad)].to(self.device)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Probabilities (B, C), float32, on the device of `inputs` (B, L), int64. Raises as `BlackBox` does."""
        self._check_inputs(inputs)
        order = (inputs != self.preprocess.pad).sum(1).argsort(stable=True)
        scores = super().__call__(inputs[order])
        return torch.empty_like(scores).index_copy_(0, order, scores)


def _longest(inputs: Tensor, pad: int) -> int:
    """Columns of ids (B, L) up to the last that is not padding anywhere; at least 1."""
    used = (inputs != pad).any(0).nonzero()
    return int(used[-1]) + 1 if len(used) else 1


class TextBlackBox(TextInputs, TorchBlackBox):
    """A sequence classifier of the transformers library, for single texts and pairs.

    Class names and the kind of classes (exclusive or not) come from the model's config, the tokens from its fast
    tokenizer. A model of one logit is a box of two classes, 1 - p and p = sigmoid(logit). Weights are taken in float32,
    whatever the file holds. Networks that see padding (FNet, decoders without a padding token) get texts of one length
    a pass. Code that comes with a model is never run.

    Args:
        model: id on the hub, local folder, shipped name, or .safetensors of a trained black box of this project.
        revision: branch, tag or commit on the hub.
        precision: "fp32", "bf16" or "fp16".
        class_names: names of the classes, in the order of the scores.
        max_length: most tokens of a text; by default the model's own limit, at most 8192.
        chunk: most texts a call.
        chunk_tokens: most tokens of a call, padding included.
        multi_label: classes are not exclusive; None asks the model's config.
        name: how errors and reports call it; by default the last part of `model`.

    Raises:
        OSError: neither a local folder nor a model that the hub gives.
        ValueError: no trained text classifier, or one of other classes; a regression.

    Attributes:
        preprocess: `TextPreprocess`, from a text to ids.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        precision: str = "fp32",
        class_names: Sequence[str] | None = None,
        max_length: int | None = None,
        chunk: int = 256,
        chunk_tokens: int = 16384,
        multi_label: bool | None = None,  # noqa: FBT001 a YAML key
        name: str | None = None,
    ) -> None:
        found = load_text_net(model, classifier=True, revision=revision, max_length=max_length)
        if found.missing:  # transformers would fill them with random numbers, and only warn
            raise ValueError(
                f"The weights of {model!r} lack {len(found.missing)} tensors of {type(found.net).__name__} (first: "
                f"{found.missing[0]}): it is no trained text classifier. Give one that is fine-tuned for "
                "classification, or train one: fex-train --config minilm_sst2.yaml."
            )
        if chunk_tokens < 1:
            raise ValueError(f"chunk_tokens must be at least 1, got {chunk_tokens}.")
        config: Any = found.net.config
        if config.problem_type == "regression":
            raise ValueError(
                f"{model!r} is a regression, its answers are no probabilities of classes: give a classifier, or wrap "
                "it in a function that returns probabilities (TextCallableBlackBox)."
            )
        if multi_label is None:
            multi_label = config.problem_type == "multi_label_classification"
        super().__init__(
            found.net.requires_grad_(requires_grad=False),
            precision=precision,
            class_names=chosen_names(class_names, found.class_names),
            num_classes=len(found.class_names),
            preprocess=found.preprocess,
            chunk=chunk,
            multi_label=multi_label,
            name=name or Path(model).stem,
        )
        self.model, self.chunk_tokens, self.reading = model, chunk_tokens, found.reading

    def outputs(self, inputs: Tensor, **options: Any) -> Any:
        """The network's own output for ids (B, L), in full precision; not counted as queries.

        Where gradients are enabled, they reach every hidden state, down to the embeddings of the words.

        Args:
            inputs: ids that may share a pass (`NetworkReading.groups`).
            **options: such as ``output_attentions``, ``output_hidden_states``.
        """
        with self._evaluating(), _leaf(text_body(self._module).get_input_embeddings()):
            return self._module(**self.reading.arguments(self._module, inputs), **options)

    def differentiable(self, inputs: Tensor) -> Tensor:
        """Logits (B, C) with gradients to the hidden states; ids themselves have none."""
        groups = self.reading.groups(inputs)
        found = [self.classes(self.outputs(self.reading.cut(inputs[rows])).logits) for rows in groups]
        return torch.cat(found)[torch.cat(groups).argsort()]

    def classes(self, logits: Tensor) -> Tensor:
        """Logits (B, C); of one logit, those of two classes, whose softmax is its sigmoid."""
        return both_logits(logits) if self.num_classes == 2 and not self.multi_label else logits

    def _score(self, inputs: Tensor) -> Tensor:
        dtype = PRECISIONS[self.precision]
        autocast = torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)
        groups, logits = self.reading.groups(inputs), []
        with self._evaluating(), torch.inference_mode(), autocast:
            for rows in groups:
                together = self.reading.cut(inputs[rows])
                for part in together.split(max(1, self.chunk_tokens // together.shape[1])):
                    arguments = self.reading.arguments(self._module, self.reading.cut(part))
                    logits.append(self._module(**arguments).logits.float())
        scores = torch.cat(logits)[torch.cat(groups).argsort()]
        return to_probabilities(scores, outputs="logits", multi_label=self.multi_label, name=self.name).clone()


@contextmanager
def _leaf(embedding: nn.Module) -> Iterator[None]:
    """Within it, gradients start at the embeddings of the words, though the weights have none."""

    def cut(_module: nn.Module, _args: object, output: Any) -> Any:
        if isinstance(output, tuple):  # I-BERT gives a scale too
            return (cut(_module, _args, output[0]), *output[1:])
        return output.detach().requires_grad_(torch.is_grad_enabled())

    handle = embedding.register_forward_hook(cut)
    try:
        yield
    finally:
        handle.remove()
