"""Finds the objects in pictures as each model's own project does: the reference that the decoders are compared with.

Reads a request as JSON from standard input and prints the answer as JSON:
  {"family", "model", "side": pixels, "threshold", "nms_iou", "frame": [width, height],
   "pictures": [{"path", "width", "height", "order": "rgb" or "bgr"}]}
  {"frames": [[[class, score, x1, y1, x2, y2], ...], ...], "second_classes": number}
A picture is the frame, already scaled to the part of the input that it covers, three bytes per pixel. Boxes are in
pixels of the frame, the best first.

Written from the published definitions, not from this project's own code: NanoDet `nanodet_head.py` and
`warp_boxes`, YOLOX `preproc` and `postprocess`, Ultralytics `LetterBox`, `non_max_suppression` and `scale_boxes`,
RT-DETR and D-FINE `rtdetr_postprocessor.py` and `dfine_postprocessor.py`.

Two rules are the product's. A box has one class, its best; what upstream lists again under a further class is counted
in `second_classes` and left out. And of what lies wholly outside the frame, or has its corners crossed, upstream gives a
box without area at the edge; it is left out.
"""

import json
import sys

import numpy as np
import onnxruntime

IMAGENET_BGR = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])


# Before the network.


def read_picture(picture):
    """Height x width x RGB."""
    pixels = np.fromfile(picture["path"], np.uint8).reshape(picture["height"], picture["width"], 3)
    return pixels if picture["order"] == "rgb" else pixels[..., ::-1]


def place(rgb, side, left, top, grey):
    canvas = np.full((side, side, 3), grey, np.uint8)
    canvas[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return canvas


def check_size(rgb, width, height):
    found = (rgb.shape[1], rgb.shape[0])
    assert found == (width, height), f"the picture is {found}, upstream would scale the frame to {(width, height)}"


def prepare(family, rgb, side, frame):
    """The input tensor, and how boxes go back: (x - left) / across, (y - top) / down."""
    width, height = frame
    ratio = min(side / width, side / height)
    if family == "nanodet":
        # get_resize_matrix with keep_ratio: scaled about the middle, outside is 0, then normalised.
        check_size(rgb, round(width * ratio), round(height * ratio))
        left, top = (side - width * ratio) / 2, (side - height * ratio) / 2
        canvas = place(rgb, side, int(left), int(top), 0)
        mean, deviation = IMAGENET_BGR
        return batch((canvas[..., ::-1] - mean) / deviation), (left, top, ratio, ratio)
    if family == "yolox":
        check_size(rgb, int(width * ratio), int(height * ratio))
        return batch(place(rgb, side, 0, 0, 114)[..., ::-1]), (0, 0, ratio, ratio)
    if family in ("yolov8", "yolo_end_to_end"):
        check_size(rgb, round(width * ratio), round(height * ratio))
        left, top = (side - round(width * ratio)) / 2, (side - round(height * ratio)) / 2
        canvas = place(rgb, side, round(left - 0.1), round(top - 0.1), 114)
        back = round((side - width * ratio) / 2 - 0.1), round((side - height * ratio) / 2 - 0.1), ratio, ratio
        return batch(canvas / 255), back
    assert family in ("rtdetr", "dfine"), family
    check_size(rgb, side, side)
    return batch(rgb / 255), (0, 0, side / width, side / height)


def batch(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)


# After it. Each gives rows of candidate number, class, score, x1, y1, x2, y2 in input pixels.


def nanodet(outputs, side, threshold):
    outputs = [output.reshape(-1, output.shape[-1]) for output in outputs]
    classes = next(output.shape[1] for output in outputs if output.shape[1] != 44)
    rows, first = [], 0
    for stride in (8, 16, 32):
        cells = (side // stride) ** 2
        scores = next(output for output in outputs if output.shape == (cells, classes))
        bins = next(output for output in outputs if output.shape == (cells, 44)).reshape(cells, 4, 11)
        weights = np.exp(bins - bins.max(-1, keepdims=True))
        distances = (weights / weights.sum(-1, keepdims=True) * np.linspace(0, 10, 11)).sum(-1) * stride
        y, x = np.divmod(np.arange(cells), side // stride)
        middle = (np.stack([x, y], 1) + 0.5) * stride
        corners = np.concatenate([middle - distances[:, :2], middle + distances[:, 2:]], 1).clip(0, side)
        for cell, label in zip(*np.nonzero(scores > threshold)):
            rows.append((first + cell, label, scores[cell, label], *corners[cell]))
        first += cells
    return rows


def yolox(outputs, side, threshold):
    (output,) = (output[0].astype(np.float64) for output in outputs)
    grids, strides = [], []
    for stride in (8, 16, 32):
        x, y = np.meshgrid(np.arange(side // stride), np.arange(side // stride))
        grids.append(np.stack((x, y), 2).reshape(-1, 2))
        strides.append(np.full((grids[-1].shape[0], 1), stride))
    grids, strides = np.concatenate(grids), np.concatenate(strides)
    centre, size = (output[:, :2] + grids) * strides, np.exp(output[:, 2:4]) * strides
    label, best = output[:, 5:].argmax(1), output[:, 5:].max(1)
    score = output[:, 4] * best
    corners = np.concatenate([centre - size / 2, centre + size / 2], 1)
    return [(i, label[i], score[i], *corners[i]) for i in np.nonzero(score >= threshold)[0]]


def yolov8(outputs, _side, threshold):
    (output,) = (output[0].T for output in outputs)
    boxes, scores = output[:, :4], output[:, 4:]
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    label, score = scores.argmax(1), scores.max(1)
    return [(i, label[i], score[i], *corners[i]) for i in np.nonzero(score > threshold)[0]]


def yolo_end_to_end(outputs, _side, threshold):
    (output,) = (output[0] for output in outputs)
    # A row is told from another by its corners: the export does not say which candidate it was.
    return [(tuple(row[:4]), int(row[5]), row[4], *row[:4]) for row in output if row[4] > threshold]


def rtdetr(outputs, side, threshold):
    if len(outputs) == 3:
        labels, boxes, scores = (output[0] for output in outputs)
        rows = zip(boxes, labels, scores)
        return [(tuple(box), int(label), score, *box) for box, label, score in rows if score > threshold]
    if len(outputs) == 1:
        # Ultralytics since 8.4: the same choice, made inside.
        boxes, scores, labels = outputs[0][0][:, :4], outputs[0][0][:, 4], outputs[0][0][:, 5]
        queries = [tuple(box) for box in boxes]
    else:
        logits = next(output[0] for output in outputs if output.shape[-1] != 4).astype(np.float64)
        every = next(output[0] for output in outputs if output.shape[-1] == 4)
        flat = 1 / (1 + np.exp(-logits.reshape(-1)))
        index = np.argsort(-flat, kind="stable")[: logits.shape[0]]
        queries, labels, scores = index // logits.shape[1], index % logits.shape[1], flat[index]
        boxes = every[queries]
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1) * side
    chosen = [i for i in range(len(scores)) if scores[i] > threshold]
    return [(queries[i], int(labels[i]), scores[i], *corners[i]) for i in chosen]


READERS = {
    "nanodet": nanodet,
    "yolox": yolox,
    "yolov8": yolov8,
    "yolo_end_to_end": yolo_end_to_end,
    "rtdetr": rtdetr,
    "dfine": rtdetr,
}


def one_class_each(rows):
    """The best class of every candidate, the best candidate first."""
    best = {}
    for row in sorted(rows, key=lambda row: -row[2]):
        best.setdefault(row[0], row)
    return list(best.values())


def suppress(rows, most):
    """Per class, drops what overlaps a better box by more than `most` (torchvision.ops.batched_nms)."""
    kept = []
    for row in rows:
        if not any(row[1] == other[1] and overlap(row[3:], other[3:]) > most for other in kept):
            kept.append(row)
    return kept


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both, 1e-9)


def to_frame(row, back, frame):
    """The box in pixels of the frame, cut to it; `None` if nothing of it is there."""
    left, top, across, down = back
    corners = (np.array(row[3:], np.float64) - [left, top, left, top]) / [across, down, across, down]
    corners = corners.clip(0, [frame[0], frame[1]] * 2)
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        return None
    return [int(row[1]), float(row[2]), *(round(float(corner), 4) for corner in corners)]


def read(family, outputs, side, threshold, nms_iou, back, frame):
    """The boxes of one frame, and how many second classes were left out."""
    rows = READERS[family](outputs, side, threshold)
    single = one_class_each(rows)
    kept = single if nms_iou is None else suppress(single, nms_iou)
    boxes = [to_frame(row, back, frame) for row in kept[:300]]
    return [box for box in boxes if box is not None], len(rows) - len(single)


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    request = json.load(sys.stdin)
    session = session_of(request["model"])
    family, side, frame = request["family"], request["side"], request["frame"]
    frames, second_classes = [], 0
    for picture in request["pictures"]:
        tensor, back = prepare(family, read_picture(picture), side, frame)
        outputs = session.run(None, {session.get_inputs()[0].name: tensor})
        boxes, left_out = read(family, outputs, side, request["threshold"], request["nms_iou"], back, frame)
        frames.append(boxes)
        second_classes += left_out
    json.dump({"frames": frames, "second_classes": second_classes}, sys.stdout)


if __name__ == "__main__":
    main()
