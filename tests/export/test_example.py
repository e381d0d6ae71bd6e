from fex.explainers import load_explainer
from fex.export.writing import _example


def test_a_graph_is_traced_with_pictures_of_the_explainers_channels():
    explainer = load_explainer("fex_vit_cifar10")
    assert _example(explainer, 2).shape == (2, 3, 32, 32)
    assert explainer.explain_batch(_example(explainer, 1))[0].shape == (1, 64)
