"""Makes a small network of the shape of D-FINE's own export: labels as integers, and sizes as a second input.

Usage: make_labelled.py FOLDER, with the Python of .cache/import. Writes two-inputs.onnx; labelled.onnx is that with the sizes
made a constant by the lines that docs/ref/models.md shows.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
FRACTIONS = np.array([[[0.0, 0.0, 0.5, 0.5], [0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0]]], np.float32)
SCORES = np.array([[0.9, 0.6, 0.01]], np.float32)


def main():
    constants = {
        "labels_of": np.array([[0, 7, 79]], np.int64),
        "fractions": FRACTIONS,
        "scores_of": SCORES,
        "zero": np.zeros(1, np.float32),
        "twice": np.array([1, 2], np.int64),
    }
    nodes = [
        helper.make_node("Identity", ["labels_of"], ["labels"]),
        helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("Tile", ["sizes", "twice"], ["corners"]),
        helper.make_node("Mul", ["fractions", "corners"], ["boxes"]),
        # The scores depend on the picture in form only.
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["scores_of", "nothing"], ["scores"]),
    ]
    inputs = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE]),
        helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]),
    ]
    outputs = [
        helper.make_tensor_value_info("labels", TensorProto.INT64, [1, 3]),
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 3, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "labelled", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, Path(sys.argv[1]) / "two-inputs.onnx")


if __name__ == "__main__":
    main()
