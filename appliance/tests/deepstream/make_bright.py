#!/usr/bin/env python3
"""Writes bright.onnx beside this file: a detector of bright patches, small enough for a repository.

Its input is 64 x 64 pixels of 0 to 255. Each of 8 x 8 cells gives one row in YOLOX's form, grid not yet decoded:
no offset, a box of 16 x 16 pixels, the cell's mean brightness (0 to 1) as objectness, and 1 as the score of its one class.

Run with the packages numpy and onnx (1.17 or newer): python3 make_bright.py
"""

import math
import pathlib

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

CELL = 8
weights = np.zeros((6, 3, CELL, CELL), np.float32)
weights[4] = 1 / (3 * CELL * CELL * 255)
side = math.log(2)
bias = np.array([0.5, 0.5, side, side, 0, 1], np.float32)
graph = helper.make_graph(
    [
        helper.make_node("Conv", ["images", "weights", "bias"], ["cells"], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["cells", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["output"], perm=[0, 2, 1]),
    ],
    "bright",
    [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
    [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 64, 6])],
    [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array([1, 6, 64], np.int64), "shape"),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
checker.check_model(model)
save(model, pathlib.Path(__file__).with_name("bright.onnx"))
