"""Reading requests in the web process: what reaches a worker can be explained; what cannot is a 4xx with a sentence."""

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fex.class_names import class_index
from fex.images.decoding import UnreadableImageError, read_pixels
from fex.serve.limits import Limits
from fex.storage.names import on_one_line
from fex.texts.files import LONGEST_TEXT, unfit
from fex.texts.tokenized import Text

__all__ = ["Desk", "Job", "Question", "read_job"]

FILES = {"image", "images", "text", "texts"}  # fields that may come more than once


class Question(BaseModel):
    """Pictures or texts, and what is asked of each."""

    model_config = ConfigDict(extra="forbid")

    images: list[str] = Field([], description="picture files (JPEG, PNG, ...) as base64")
    texts: list[Annotated[str, Field(max_length=LONGEST_TEXT)] | tuple[str, str]] = Field(
        [], description="texts, or pairs of texts"
    )
    target: int | Annotated[str, Field(max_length=500)] | None = Field(
        None, description="class by name or index; by default the likeliest ones"
    )
    top_k: int = Field(1, ge=1, description="how many of the likeliest classes; without target")
    refine: int = Field(0, ge=0, description="queries of the black box about each input; 0 asks none")
    png: bool = Field(default=False, description="also picture, map and overlay as PNG, base64")

    @field_validator("target", "top_k", "refine", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        """True is no 1, and 1.0 no class: pydantic would take both."""
        if isinstance(value, bool | float):
            raise ValueError(f"got {json.dumps(value)}, expected a whole number")  # noqa: TRY004 pydantic's way
        return value


@dataclass(frozen=True)
class Job:
    """What a worker gets.

    Attributes:
        inputs: pictures (3, H, W), uint8, as the explainer's preprocessing cuts them; or texts.
        target: index of the class; None takes the likeliest.
        top_k: how many of them.
        refine: queries of the black box about each input.
        png: draw pictures too.
        alone: the answer is one PNG.
    """

    inputs: list[Any]
    target: int | None
    top_k: int
    refine: int
    png: bool
    alone: bool


class Desk:
    """Reads the requests for one explainer.

    Args:
        explainer: a trained one; its network is not used.
        limits: bounds.
        black_box: one is at hand, to refine.
        threads: that decode pictures.
    """

    def __init__(self, explainer: Any, limits: Limits, *, black_box: bool, threads: int) -> None:
        self.modality, self.preprocess = explainer.modality.name, explainer.preprocess
        self.class_names, self.limits, self.black_box = explainer.class_names, limits, black_box
        self.pool = ThreadPoolExecutor(threads, "read")

    def job(self, question: Question, pictures: Sequence[bytes], *, alone: bool) -> Job:
        """Raises HTTPException 422 for what cannot be explained."""
        found = len(pictures) + len(question.images) + len(question.texts)
        expected = "images" if self.modality == "image" else "texts"
        if (pictures or question.images) if expected == "texts" else question.texts:
            raise _refused(f"this explainer takes {expected}")
        if not 1 <= found <= self.limits.inputs:
            raise _refused(f"got {found} {expected}, expected 1 to {self.limits.inputs}")
        classes = len(self.class_names)
        if question.target is not None and question.top_k != 1:
            raise _refused("give target or top_k, not both")
        if question.top_k > classes:
            raise _refused(f"top_k must lie in 1 ... {classes}, the number of classes; got {question.top_k}")
        if question.refine and not self.black_box:
            raise _refused("refine asks a black box, and this server has none")
        if question.refine > self.limits.queries:
            raise _refused(f"refine may be {self.limits.queries} at most, got {question.refine}")
        if alone and (found > 1 or question.top_k > 1):
            raise _refused("an answer of image/png is of one input and one class: ask for JSON with png")
        try:
            target = None if question.target is None else class_index(question.target, self.class_names)
        except ValueError as error:
            raise _refused(str(error)) from None
        inputs = [self._picture(data, i) for i, data in enumerate([*pictures, *map(_decoded, question.images)])]
        inputs += [self._text(text, i) for i, text in enumerate(question.texts)]
        return Job(inputs, target, question.top_k, question.refine, question.png or alone, alone)

    def _picture(self, data: bytes, number: int) -> np.ndarray:
        try:
            return read_pixels(data, self.preprocess, most=self.limits.pixels).contiguous().numpy()
        except UnreadableImageError as error:
            raise _refused(f"image {number} cannot be read: {error}") from None

    def _text(self, text: Text, number: int) -> Text:
        reasons = [unfit(part) for part in ([text] if isinstance(text, str) else text)]
        if any(reasons):
            raise _refused(f"text {number}: {next(filter(None, reasons))}")
        if not self.preprocess(text).has_tokens:
            raise _refused(f"text {number} has no tokens: it is empty, or of characters that cannot be seen")
        return text


def _decoded(text: str) -> bytes:
    head, comma, rest = text.partition(",")
    try:
        return base64.b64decode(rest if comma and head.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused("an image is no base64") from None


def _refused(reason: str, status: int = 422) -> HTTPException:
    return HTTPException(status, on_one_line(reason).encode("utf-8", "replace").decode()[:1000])


async def read_job(request: Request) -> Job:
    """The job of a request; the parameter of LitServe's endpoint."""
    desk: Desk = request.app.state.desk
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    alone = "image/png" in request.headers.get("accept", "")
    pictures: list[bytes] = []
    try:
        if kind == "application/json":
            body = await request.body()
            question = await _in_thread(desk, Question.model_validate_json, body)
        elif kind == "multipart/form-data":
            fields, pictures = await _form(request, desk.limits)
            question = Question.model_validate(fields)
        else:
            raise _refused(f"got {kind}, expected application/json or multipart/form-data", 415)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _refused(
            f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    return await _in_thread(desk, lambda: desk.job(question, pictures, alone=alone))


async def _in_thread(desk: Desk, work: Any, *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(desk.pool, work, *arguments)


async def _form(request: Request, limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    """Fields of a form as of JSON, and its files."""
    pictures: list[bytes] = []
    fields: dict[str, Any] = {}
    async with request.form(max_files=limits.inputs, max_fields=limits.inputs + 8, max_part_size=limits.body) as form:
        for name, value in form.multi_items():
            key = f"{name}s" if name in ("image", "text") else name
            if not isinstance(value, str):
                if key != "images":
                    raise _refused(f"the file {name!r} is in no field `images`")
                pictures.append(await value.read())
            elif name in FILES:
                fields.setdefault(key, []).append(value)
            elif name in fields:
                raise _refused(f"{name} is there more than once")
            else:
                fields[name] = value
    return fields, pictures
