"""Texts by HTTP: what the desk lets through, and what a worker answers."""

import json

import pytest
import torch

pytest.importorskip("litserve")

from fastapi import HTTPException

from fex.serve import Limits
from fex.serve.desk import Desk, Question
from fex.serve.worker import ExplainAPI
from tests.lightning_modules.test_texts import explainer


@pytest.fixture(scope="module")
def one():
    return explainer()


def desk(one):
    return Desk(one, Limits(inputs=3), black_box=False, threads=1)


def test_texts_and_pairs_are_explained_together(one, tmp_path):
    state = {f"explainer.{name}": tensor for name, tensor in one.net.state_dict().items()}
    torch.save({"state_dict": state, "fex": one.meta}, tmp_path / "text.ckpt")
    api = ExplainAPI(str(tmp_path / "text.ckpt"))
    api.setup("cpu")
    questions = [{"texts": ["a gem", ["the film", "a mess"]]}, {"texts": ["so very odd"], "target": 1}]
    jobs = [desk(one).job(Question.model_validate(each), [], alone=False) for each in questions]
    first, second = (json.loads(answer.body)["explanations"] for answer in api.predict(jobs))
    assert [[word["word"] for word in row[0]["words"]] for row in first] == [["a", "gem"], ["the", "film", "a", "mess"]]
    [[found]] = second
    [expected] = one.explain("so very odd", 1)
    assert found["target"]["index"] == 1
    for word, other in zip(found["words"], expected.word_scores(), strict=True):
        assert word["score"] == pytest.approx(other.score, abs=1e-5)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({"texts": [" \n"]}, "text 0 has no tokens"),
        ({"texts": ["a", "b", "c", "d"]}, "expected 1 to 3"),
        ({"images": ["aa"]}, "takes texts"),
    ],
)
def test_what_is_no_text_is_a_sentence(one, question, reason):
    with pytest.raises(HTTPException) as error:
        desk(one).job(Question.model_validate(question), [], alone=False)
    assert error.value.status_code == 422
    assert reason in error.value.detail
