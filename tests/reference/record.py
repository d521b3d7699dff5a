"""Records what exports with random weights say of one frame of the demo video, and what the reference reads from it.

Usage: record.py EXPORTS VIDEO FIXTURES
For each NAME.onnx of make_exports.py in the folder EXPORTS, writes NAME.f32 (the outputs one after the other, 32-bit
floats, little-endian) and NAME.json (their names and shapes, and the boxes that reference.py reads). Run by hand through
tests/reference/families.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import reference

FRAME, NUMBER = [768, 576], 400
# Export, family, shipped description, threshold (such that some tens of boxes pass), overlap from which doubles are
# suppressed (low for YOLO11: random weights overlap less than trained ones).
RECORDED = [
    ("yolo11n", "yolov8", "yolo11n-640", 0.3, 0.2),
    ("yolo26n", "yolo_end_to_end", "yolo26n-640", 0.3, None),
    ("yolov10n", "yolo_end_to_end", "yolov10n-640", 0.3, None),
    ("rtdetr-r18", "rtdetr", "rtdetr-r18-640", 0.6, None),
    ("rtdetr-resnet50", "rtdetr", "rtdetr-r18-640", 0.6, None),
    ("dfine-n", "dfine", "dfine-n-640", 0.6, None),
    ("dfine-n-labelled", "dfine", "dfine-n-640", 0.6, None),
]


def frame_of(video, family, side):
    """One frame, scaled to the part of the input it covers."""
    width, height = (side, side) if family in ("rtdetr", "dfine") else (side, side * FRAME[1] // FRAME[0])
    command = ["ffmpeg", "-v", "error", "-i", video, "-vf", f"select=eq(n\\,{NUMBER}),scale={width}:{height}"]
    command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(raw, np.uint8).reshape(height, width, 3)


def record(session, name, family, description, threshold, nms_iou, video, folder):
    side = session.get_inputs()[0].shape[2]
    tensor, back = reference.prepare(family, frame_of(video, family, side), side, FRAME)
    outputs = [output.astype(np.float32) for output in session.run(None, {session.get_inputs()[0].name: tensor})]
    boxes, second_classes = reference.read(family, outputs, side, threshold, nms_iou, back, FRAME)
    # More would be cut to the 300 best, pairs upstream but boxes here.
    fits = 20 <= len(boxes) and len(boxes) + second_classes < 300
    assert fits, f"{name}: {len(boxes)} + {second_classes} boxes; the threshold does not fit the weights"
    (folder / f"{name}.f32").write_bytes(b"".join(output.astype("<f4").tobytes() for output in outputs))
    names = [value.name for value in session.get_outputs()]
    document = {
        "source": f"frame {NUMBER} of vtest.avi through {name} of make_exports.py, boxes by reference.py",
        "family": family,
        "description": description,
        "side": side,
        "frame": dict(zip(("width", "height"), FRAME)),
        "threshold": threshold,
        "nms_iou": nms_iou,
        "outputs": [{"name": name, "shape": output.shape} for name, output in zip(names, outputs)],
        "boxes": boxes,
    }
    (folder / f"{name}.json").write_text(json.dumps(document) + "\n")
    shapes = ", ".join(f"{name} {list(output.shape)}" for name, output in zip(names, outputs))
    classes = len({box[0] for box in boxes})
    print(f"{name}: {shapes}; {len(boxes)} boxes of {classes} classes, {second_classes} second classes left out")


def main():
    exports, video, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    for name, family, description, threshold, nms_iou in RECORDED:
        session = reference.session_of(str(exports / f"{name}.onnx"))
        record(session, name, family, description, threshold, nms_iou, video, folder)


if __name__ == "__main__":
    main()
