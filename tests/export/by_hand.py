"""An exported explainer made by hand: red, green and blue are the classes, their means in quarters the maps."""

import json

__all__ = ["CLASSES", "META", "write_by_hand"]

CLASSES = ["red", "green", "blue"]
META = {
    "kind": "export", "modality": "image", "method": "FEX", "class_names": CLASSES, "grid": [2, 2], "removal": "mean",
    "black_box": "toy", "preprocess": {"height": 16, "width": 16}, "multi_label": False, "span": 1.0,
}  # fmt: skip
GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
explainer (float[B,3,16,16] inputs, int64[B,K] target)
  => (float[B,K,4] scores, int64[B,K] classes, float[B,3] probabilities)
{
  mean = GlobalAveragePool (inputs)
  flat = Flatten (mean)
  probabilities = Softmax <axis = 1> (flat)
  three = Constant <value = int64[1] {3}> ()
  best, ranked = TopK <axis = 1> (probabilities, three)
  one = Constant <value = int64[1] {1}> ()
  zero = Constant <value = int64[1] {0}> ()
  negative = Neg (target)
  rank = Sub (negative, one)
  place = Max (rank, zero)
  own = GatherElements <axis = 1> (ranked, place)
  unnamed = Less (target, zero)
  classes = Where (unnamed, own, target)
  quarters = AveragePool <kernel_shape = [8, 8], strides = [8, 8]> (inputs)
  shape = Constant <value = int64[3] {0, 3, 4}> ()
  maps = Reshape (quarters, shape)
  two = Constant <value = int64[1] {2}> ()
  column = Unsqueeze (classes, two)
  wide = Constant <value = int64[3] {1, 1, 4}> ()
  index = Expand (column, wide)
  scores = GatherElements <axis = 1> (maps, index)
}
"""


def write_by_hand(path, **changes):
    """The file; `changes` replace entries of its description, as text, and leave out those that are None."""
    import onnx.parser

    model = onnx.parser.parse_model(GRAPH)
    entries = {"format": "fex-export-1", **{key: json.dumps(value) for key, value in META.items()}, **changes}
    for key, value in entries.items():
        if value is not None:
            model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path
