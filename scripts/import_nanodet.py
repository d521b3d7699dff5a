#!/usr/bin/env python3
"""Imports the NanoDet-G detector from its TensorFlow.js form into ONNX.

The TensorFlow.js form is a JSON graph plus one file of weights stored as 16-bit floats. The graph was itself made
from a PyTorch model, so it computes in NCHW and wraps every convolution in a pair of transpositions to NHWC. The
importer carries each value as a view, a stored tensor plus a permutation of its axes, and emits a transposition only
where a permutation is left over at the end. Paddings before convolutions and biases after them become part of the
convolution. What comes out is a plain NCHW network with the names and shapes of inputs and outputs unchanged.

Same input, same bytes: nothing of the time, the machine or the versions of the libraries is written into the model.
"""

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Resize takes a list of axes from opset 18 on, which spares the importer from inferring shapes.
OPSET = 18
# The oldest file format version that opset 18 belongs to.
IR_VERSION = 8
# TensorFlow.js names types in its weight list by NumPy's names, and quantised weights by how they are stored.
KNOWN_DTYPES = {"float32", "int32"}
NHWC_TO_NCHW = (0, 2, 3, 1)


class UnsupportedGraph(Exception):
    """The graph uses something that this importer does not know; nothing is guessed."""


class View(NamedTuple):
    """A value of the TensorFlow graph: axis `i` of it is axis `perm[i]` of the stored ONNX tensor.

    `pads` is padding not applied yet, a (before, after) pair per axis of the stored tensor, filled with `fill`.
    """

    name: str
    perm: tuple
    pads: tuple = ()
    fill: float = 0.0


def read_weights(manifest, folder):
    """Reads every weight of the manifest as an array, 16-bit floats widened to 32 bits."""
    weights = {}
    for group in manifest:
        data = b"".join((folder / path).read_bytes() for path in group["paths"])
        offset = 0
        for entry in group["weights"]:
            stored = np.dtype(entry.get("quantization", entry)["dtype"]).newbyteorder("<")
            if entry["dtype"] not in KNOWN_DTYPES:
                raise UnsupportedGraph(f"weight {entry['name']} has type {entry['dtype']}")
            count = int(np.prod(entry["shape"], dtype=np.int64))
            values = np.frombuffer(data, stored, count, offset).reshape(entry["shape"])
            weights[entry["name"]] = values.astype(entry["dtype"])
            offset += count * stored.itemsize
        if offset != len(data):
            raise UnsupportedGraph(f"the weight files hold {len(data)} bytes, the manifest describes {offset}")
    return weights


class Importer:
    """Lowers the nodes of one TensorFlow.js graph to ONNX, each after the nodes it reads."""

    def __init__(self, graph, weights):
        self.tf_nodes = {node["name"]: node for node in graph["node"]}
        self.weights = weights
        self.values = {}
        self.onnx_nodes = []
        self.initializers = []
        self.bias_free = {}
        self.readers = {}
        for node in graph["node"]:
            for name in node.get("input", []):
                self.readers[name] = self.readers.get(name, 0) + 1

    def value(self, name):
        """What a name of the TensorFlow graph stands for: an array if it is constant, else a view."""
        if name not in self.values:
            node = self.tf_nodes[name.split(":")[0]]
            lower = getattr(self, "lower_" + node["op"].lower(), None)
            if lower is None:
                raise UnsupportedGraph(f"node {node['name']} is a {node['op']}, which is not supported")
            results = lower(node, *[self.value(source) for source in node.get("input", [])])
            for index, result in enumerate(results if isinstance(results, list) else [results]):
                self.values[node["name"] + (f":{index}" if index else "")] = result
        return self.values[name]

    def finish(self, name):
        """Stores the value called `name` under its own name, as an output of the model."""
        view = self.in_order(self.value(name.removesuffix(":0")), None)
        self.onnx_nodes.append(helper.make_node("Identity", [view.name], [name], name=name))

    # Nodes without arithmetic.

    def lower_placeholder(self, node):
        return View(node["name"] + ":0", tuple(range(len(node["attr"]["shape"]["shape"]["dim"]))))

    def lower_const(self, node):
        return self.weights[node["name"]]

    def lower_identity(self, _node, value):
        return value

    def lower_transpose(self, _node, value, perm):
        pads = value.pads
        return View(value.name, tuple(value.perm[axis] for axis in perm), pads, value.fill)

    def lower_reshape(self, node, value, shape):
        target = self.constant(node["name"] + "/shape", np.asarray(shape, np.int64))
        value = self.in_order(value, None)
        return View(self.emit("Reshape", node, [value.name, target]), tuple(range(len(shape))))

    def lower_sparsetodense(self, _node, indices, shape, values, default):
        dense = np.full(shape, default)
        dense[tuple(indices.T)] = values
        return dense

    # Elementwise nodes keep the axes as they are.

    def lower_leakyrelu(self, node, value):
        value = self.padded(value)
        return View(self.emit("LeakyRelu", node, [value.name], alpha=node["attr"]["alpha"]["f"]), value.perm)

    def lower_sigmoid(self, node, value):
        value = self.padded(value)
        return View(self.emit("Sigmoid", node, [value.name]), value.perm)

    def lower_add(self, node, left, right):
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            return left + right
        if isinstance(right, np.ndarray):
            return self.add_bias(node, left, right)
        left = self.padded(left)
        right = self.in_order(right, left.perm)
        return View(self.emit("Add", node, [left.name, right.name]), left.perm)

    lower_addv2 = lower_add

    def add_bias(self, node, value, bias):
        conv = self.bias_free.pop(value.name, None)
        if conv is None or bias.ndim != 1 or value.perm[-1] != 1 or self.readers[node["input"][0]] != 1:
            raise UnsupportedGraph(f"node {node['name']} adds a constant to something other than a convolution")
        conv.input.append(self.constant(node["name"] + "/bias", bias))
        return value

    # Nodes with axes.

    def lower_pad(self, node, value, paddings, fill=0.0):
        value = self.padded(value)
        pads = [(0, 0)] * len(value.perm)
        for axis, (before, after) in enumerate(paddings):
            pads[value.perm[axis]] = (int(before), int(after))
        return View(value.name, value.perm, tuple(pads), float(fill))

    lower_padv2 = lower_pad

    def lower_concatv2(self, node, *inputs):
        *values, axis = inputs
        perm = values[0].perm
        names = [self.in_order(value, perm).name for value in values]
        return View(self.emit("Concat", node, names, axis=perm[int(axis)]), perm)

    def lower_splitv(self, node, value, sizes, axis):
        value = self.padded(value)
        split = self.constant(node["name"] + "/sizes", np.asarray(sizes, np.int64))
        outputs = [f"{node['name']}:{index}" for index in range(len(sizes))]
        split_axis = value.perm[int(axis)]
        self.onnx_nodes.append(
            helper.make_node("Split", [value.name, split], outputs, name=node["name"], axis=split_axis)
        )
        return [View(output, value.perm) for output in outputs]

    # Nodes over the plane of an image, which TensorFlow has as NHWC and ONNX as NCHW.

    def lower_conv2d(self, node, image, kernel):
        image, pads = self.with_plane_pads(node, image, (0.0,))
        weight = self.constant(node["name"] + "/kernel", np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        attributes = {
            "strides": self.plane(node, "strides"),
            "dilations": self.plane(node, "dilations"),
            "kernel_shape": kernel.shape[:2],
            "pads": pads,
        }
        output = self.emit("Conv", node, [image.name, weight], **attributes)
        self.bias_free[output] = self.onnx_nodes[-1]
        return View(output, NHWC_TO_NCHW)

    def lower_maxpool(self, node, image):
        # ONNX pads a pooling with minus infinity; the smallest number of the type gives the same maxima.
        image, pads = self.with_plane_pads(node, image, (-np.inf, np.finfo(np.float32).min))
        kernel, strides = self.plane(node, "ksize"), self.plane(node, "strides")
        return View(
            self.emit("MaxPool", node, [image.name], kernel_shape=kernel, strides=strides, pads=pads), NHWC_TO_NCHW
        )

    def lower_resizebilinear(self, node, image, size):
        if node["attr"]["align_corners"]["b"] or not node["attr"]["half_pixel_centers"]["b"]:
            raise UnsupportedGraph(f"node {node['name']} samples at corners instead of pixel centres")
        image = self.in_order(image, NHWC_TO_NCHW)
        sizes = self.constant(node["name"] + "/size", np.asarray(size, np.int64))
        inputs = [image.name, "", "", sizes]
        mode = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return View(self.emit("Resize", node, inputs, axes=[2, 3], **mode), NHWC_TO_NCHW)

    def with_plane_pads(self, node, image, fills):
        """The image as NCHW and its padding in the plane, as ONNX lists it: befores first, then afters.

        Padding filled with one of `fills` is left to the operation; any other is applied to the image.
        """
        if text(node, "data_format") != "NHWC" or text(node, "padding") != "VALID":
            raise UnsupportedGraph(f"node {node['name']} is not an unpadded NHWC operation")
        # Only when needed, because it applies the padding as well.
        if image.perm != NHWC_TO_NCHW:
            image = self.in_order(image, NHWC_TO_NCHW)
        if not image.pads:
            return image, [0, 0, 0, 0]
        if any(map(any, image.pads[:2])) or image.fill not in fills:
            return self.padded(image), [0, 0, 0, 0]
        (top, bottom), (left, right) = image.pads[2:]
        return image, [top, left, bottom, right]

    # What all of them need.

    def plane(self, node, attribute):
        batch, *plane, channel = (int(number) for number in node["attr"][attribute]["list"]["i"])
        if (batch, channel) != (1, 1):
            raise UnsupportedGraph(f"node {node['name']} has {attribute} across batch or channels")
        return plane

    def in_order(self, value, perm):
        """The value with the wanted order of axes (None: the order that the TensorFlow graph sees)."""
        value = self.padded(value)
        wanted = tuple(range(len(value.perm))) if perm is None else perm
        if value.perm == wanted:
            return value
        # Axis wanted[i] of the result is axis value.perm[i] of what is stored.
        order = [value.perm[wanted.index(axis)] for axis in range(len(wanted))]
        name = f"{value.name}/as{''.join(map(str, order))}"
        if not any(name in node.output for node in self.onnx_nodes):
            self.onnx_nodes.append(helper.make_node("Transpose", [value.name], [name], name=name, perm=order))
        return View(name, wanted)

    def padded(self, value):
        """The value with the padding that was put off applied."""
        if not value.pads:
            return value
        name = f"{value.name}/padded{len(self.onnx_nodes)}"
        amounts = np.asarray([[pad[0] for pad in value.pads], [pad[1] for pad in value.pads]], np.int64).ravel()
        inputs = [
            value.name,
            self.constant(name + "/amounts", amounts),
            self.constant(name + "/fill", np.float32(value.fill)),
        ]
        self.onnx_nodes.append(helper.make_node("Pad", inputs, [name], name=name))
        return View(name, value.perm)

    def constant(self, name, values):
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def emit(self, op, node, inputs, **attributes):
        output = node["name"] + ":0"
        self.onnx_nodes.append(helper.make_node(op, inputs, [output], name=node["name"], **attributes))
        return output


def text(node, attribute):
    return base64.b64decode(node["attr"][attribute]["s"]).decode()


def signature_of(entries):
    """Names and shapes of a signature's inputs or outputs, as they stand there."""
    for name, entry in entries.items():
        shape = [int(dim["size"]) for dim in entry["tensorShape"]["dim"]]
        yield helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def import_model(json_path):
    """Builds the ONNX model of the TensorFlow.js model described by the file at `json_path`."""
    description = json.loads(json_path.read_text())
    if description.get("format") != "graph-model":
        raise UnsupportedGraph(f"{json_path} is not a TensorFlow.js graph model")
    importer = Importer(description["modelTopology"], read_weights(description["weightsManifest"], json_path.parent))
    inputs = list(signature_of(description["signature"]["inputs"]))
    outputs = list(signature_of(description["signature"]["outputs"]))
    for output in outputs:
        importer.finish(output.name)
    graph = helper.make_graph(importer.onnx_nodes, "nanodet-g-416", inputs, outputs, importer.initializers)
    graph.doc_string = "NanoDet-G 416, 80 COCO classes; upstream RangiLyu/nanodet, Apache-2.0"
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="aivms", ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    parser = argparse.ArgumentParser(description="Imports NanoDet-G from TensorFlow.js into ONNX.")
    parser.add_argument("json", type=Path, help="nanodet.json, with nanodet.bin beside it")
    parser.add_argument("onnx", type=Path, help="where to write the ONNX model")
    arguments = parser.parse_args()
    try:
        model = import_model(arguments.json)
    except (OSError, ValueError, KeyError, UnsupportedGraph) as error:
        sys.exit(f"cannot import {arguments.json}: {error}")
    arguments.onnx.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
