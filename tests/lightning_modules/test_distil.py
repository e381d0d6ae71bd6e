"""A student of a trained explainer: it learns the teacher's maps without a query, and says who taught it."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fex.explainers import explainer_meta, export_explainer, load_explainer
from fex.images import Mean
from fex.nets import ConvEncoder, ExplainerNet, ShapleyNet, ViTEncoder, rebuild
from fex.policy import as_logits, map_loss
from fex.storage.weights import save_weights
from lightning_modules import DistilModule, FEXModule
from tests.lightning_modules.small import GRID, SIZE, VIT, Pictures, SmoothBox, fit, pictures


def student(**options):
    torch.manual_seed(1)
    return ExplainerNet(ConvEncoder(widths=[8, 8], blocks=1), hidden=8, **options)


def write_teacher(path, kind=ExplainerNet):
    torch.manual_seed(0)
    box = SmoothBox()
    net = kind(ConvEncoder(widths=[8, 8], blocks=1), hidden=8).build(box.num_classes, GRID)
    for parameter in net.parameters():  # maps and classes that differ from input to input
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.5)
    meta = explainer_meta(net, box, Mean()) | {"training": {"queries": 7, "seconds": 1.0}}
    save_weights(path, net.state_dict(), meta)
    return str(path)


@pytest.fixture
def teacher(tmp_path):
    return write_teacher(tmp_path / "tutor.safetensors")


def module(teacher, **options):
    options = {"optimizer": lambda p: torch.optim.Adam(p, 1e-2), "classes": 2, **options}
    return DistilModule(SmoothBox(), teacher, student(), **options)


def test_a_student_comes_near_its_teacher_and_asks_nothing(teacher, tmp_path):
    before = module(teacher)
    learner = module(teacher, mirror=False)
    kept = ModelCheckpoint(tmp_path, filename="student")
    asked = []
    taught, answers = learner.teacher, learner._teaching.black_box
    learner._teaching.black_box = _Counting(answers, asked)
    fit(learner, Pictures(64, bright=True), max_epochs=30, callbacks=[kept], enable_checkpointing=True)
    assert learner.cost.queries == 0 == learner.black_box.queries
    assert sum(asked) == 64  # remembered: the later epochs cost the student alone
    inputs = pictures(16, bright=True, seed=5)[0]
    classes = torch.zeros(16, dtype=torch.int64)

    def distance(net):
        apart = as_logits(net.explain(inputs, classes)[0]) - as_logits(taught.net.explain(inputs, classes)[0])
        return float(apart.detach().var(1).mean())  # of the maps' shape, which ranks

    assert distance(learner.explainer) < 0.75 * distance(before.explainer)
    export_explainer(kept.best_model_path, tmp_path / "student.safetensors")
    found = load_explainer(tmp_path / "student.safetensors")
    assert found.meta["teacher"]["name"] == "tutor.safetensors"
    assert found.meta["teacher"]["training"] == {"queries": 7, "seconds": 1.0}
    assert found.meta["training"]["queries"] == 0


class _Counting:
    def __init__(self, answers, asked):
        self.answers, self.asked = answers, asked

    def __getattr__(self, name):
        return getattr(self.answers, name)

    def __call__(self, inputs):
        self.asked.append(len(inputs))
        return self.answers(inputs)


def test_labels_of_the_box_are_queries_and_counted(teacher):
    learner = module(teacher, labels="black_box")
    fit(learner, Pictures(64), max_epochs=2)
    assert learner.cost.queries == 128  # this box may answer otherwise the next time, so it is asked in both epochs


def pooled(inputs):
    """A map that is the picture itself."""
    return torch.nn.functional.adaptive_avg_pool2d(inputs.mean(1, keepdim=True), GRID.grid).flatten(2)


def test_mirrored_rows_have_mirrored_maps(teacher):
    learner = module(teacher, mirror=True)
    inputs = torch.rand(32, 3, SIZE, SIZE)
    maps = pooled(inputs)
    seen, moved = learner._mirrored(inputs, maps)
    assert torch.allclose(pooled(seen), moved, atol=1e-6)
    changed = (seen != inputs).flatten(1).any(1)
    assert 4 < int(changed.sum()) < 28


def test_the_loss_is_zero_at_the_teacher_and_sees_order_where_probabilities_are_full():
    teacher = torch.tensor([[[6.0, 8.0, 7.0], [0.0, 1.0, 2.0]]])
    sure = torch.tensor([[1.0, 0.0]])
    assert float(map_loss(teacher, teacher, sure)) == 0
    swapped = teacher[..., [1, 0, 2]]
    assert float(map_loss(swapped, teacher, sure)) > 1
    raised = teacher + torch.tensor([1.0, 0.0]).view(1, 2, 1)  # the level of the sure class alone
    assert float(map_loss(raised, teacher, sure)) == pytest.approx(0.5 * 1.05 * 0.1)
    valid = torch.tensor([[True, True, False]])
    assert float(map_loss(teacher + torch.tensor([0.0, 0.0, 9.0]), teacher, sure, valid)) == 0


def test_unfit_teachers_and_settings_are_told(teacher, tmp_path):
    with pytest.raises(ValueError, match="classes must be 1 ... 2"):
        module(teacher, classes=3)
    with pytest.raises(ValueError, match="expected 'teacher' or 'black_box'"):
        module(teacher, labels="truth")
    with pytest.raises(ValueError, match="no keep probabilities"):
        module(write_teacher(tmp_path / "shapley.safetensors", ShapleyNet))


def test_merged_weights_answer_alike():
    torch.manual_seed(0)
    net = student().build(2, GRID)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    again = rebuild(net.init_args, 2, GRID)
    again.load_state_dict(net.state_dict())
    inputs = torch.rand(4, 3, SIZE, SIZE)
    again.encoder.merge()
    for one, other in zip(net.explain(inputs), again.explain(inputs), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert not any("parametrizations" in name for name in again.state_dict())


@pytest.mark.parametrize("widths", [[], [0]])
def test_widths_that_are_none_are_told(widths):
    with pytest.raises(ValueError, match="widths of at least 1"):
        ConvEncoder(widths)


def knowing(**options):
    """A student that knows a classifier's evidence before any training."""
    torch.manual_seed(2)
    arguments = {**VIT, "num_classes": 2}
    encoder = ViTEncoder("vit_tiny_patch16_224", model_args=arguments, class_head=True, direct_layers=1, **options)
    torch.nn.init.normal_(encoder.net.get_classifier().weight, std=8)
    return ExplainerNet(encoder, hidden=16)


def own_start(net, **options):
    given = {
        "contexts": 8,
        "classes": 2,
        "class_weight": 0.1,
        "features": GRID,
        "optimizer": lambda p: torch.optim.Adam(p, 3e-3),
    }
    return DistilModule(SmoothBox(), None, net, **{**given, **options})


def test_without_a_teacher_it_learns_what_its_own_start_says_of_masked_copies():
    learner = own_start(knowing())
    inputs = pictures(16)[0]
    taught = learner._teaching.black_box
    maps, classes, _ = taught.parts(taught(inputs))
    assert torch.equal(maps, taught.parts(taught(inputs))[0])  # the input alone decides its copies
    assert torch.allclose(maps[3:5], taught.parts(taught(inputs[3:5]))[0], atol=1e-4)
    whole = taught.teacher.net.target_logits(taught.teacher.net.encode(inputs), classes)
    assert float((maps - whole).var(-1).mean()) > 1e-4  # averages are not what one pass says

    def distance():
        with torch.no_grad():
            told = learner.explainer.target_logits(learner.explainer.encode(inputs), classes)
        return float((told - maps).var(-1).mean())

    before = distance()
    fit(learner, Pictures(16), max_epochs=40)
    assert distance() < 0.7 * before
    assert learner.cost.queries == 0


def test_contexts_and_starts_that_cannot_be_are_told(teacher):
    with pytest.raises(ValueError, match="starts flat"):
        module(None, features=GRID)
    with pytest.raises(ValueError, match="are the teacher's"):
        module(teacher, features=GRID)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        module(teacher, contexts=-1)


def test_fex_goes_on_from_what_was_learnt(tmp_path):
    learner = own_start(knowing())
    kept = ModelCheckpoint(tmp_path, filename="evidence")
    fit(learner, Pictures(32), max_epochs=1, callbacks=[kept], enable_checkpointing=True)
    begun = FEXModule(SmoothBox(), GRID, knowing(), start=kept.best_model_path)
    for name, value in learner.explainer.state_dict().items():
        assert torch.equal(begun.explainer.state_dict()[name], value)
    fit(begun, Pictures(32), max_epochs=1)
    with pytest.raises(ValueError, match="no start for this explainer: net is"):
        FEXModule(SmoothBox(), GRID, ExplainerNet(knowing().encoder, hidden=8), start=kept.best_model_path)


def test_merged_adapters_answer_alike():
    pytest.importorskip("peft")
    net = knowing(lora_rank=2).build(2, GRID)
    for name, parameter in net.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    inputs = torch.rand(4, 3, SIZE, SIZE)
    before = net.eval().explain(inputs)
    net.encoder.merge()
    assert not any("lora" in name for name in net.state_dict())
    for one, other in zip(before, net.explain(inputs), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
