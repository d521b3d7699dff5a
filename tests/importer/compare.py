"""Compares an imported NanoDet-G with a reference on frames of the demo video, for values and for speed.

Usage: compare.py IMPORTED.onnx REFERENCE.onnx VIDEO
The reference was made from the same source by TensorFlow 2.15 and tf2onnx 1.16.
"""

import subprocess
import sys
import time

import numpy as np
import onnxruntime

SIDE = 416
# What the two ways of rounding the same 16-bit weights through other operators may differ by.
TOLERANCE = 1e-3
# Of CPU time per frame; the import must not cost the product speed. Ten per cent is the noise of a busy machine.
SLOWEST_RATIO = 1.1
MEAN = np.array([103.53, 116.28, 123.675])
DEVIATION = np.array([57.375, 57.12, 58.395])


def frames_of(video):
    """Every hundredth frame as the network takes it: one batch each, NCHW, BGR, normalised."""
    choose = f"select=not(mod(n\\,100)),scale={SIDE}:{SIDE}"
    command = ["ffmpeg", "-v", "error", "-i", video, "-vf", choose, "-vsync", "0"]
    command += ["-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    raw = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    images = np.frombuffer(raw, np.uint8).reshape(-1, SIDE, SIDE, 3)
    normalised = ((images - MEAN) / DEVIATION).astype(np.float32)
    return [np.ascontiguousarray(image.transpose(2, 0, 1)[None]) for image in normalised]


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def signature_of(session):
    sides = (session.get_inputs(), session.get_outputs())
    return [[(value.name, value.shape, value.type) for value in side] for side in sides]


def largest_difference(imported, reference, frames):
    name = reference.get_inputs()[0].name
    pairs = [zip(imported.run(None, {name: frame}), reference.run(None, {name: frame})) for frame in frames]
    return max(float(np.abs(ours - theirs).max()) for pair in pairs for ours, theirs in pair)


def cpu_times(sessions, frames, rounds):
    """The least CPU time of each session for a frame in milliseconds, measured in turns."""
    best = [float("inf")] * len(sessions)
    for turn in range(rounds):
        frame = frames[turn % len(frames)]
        for index, session in enumerate(sessions):
            start = time.process_time()
            session.run(None, {session.get_inputs()[0].name: frame})
            best[index] = min(best[index], (time.process_time() - start) * 1000)
    return best


def main():
    imported, reference = session_of(sys.argv[1]), session_of(sys.argv[2])
    frames = frames_of(sys.argv[3])
    assert len(frames) >= 5, f"only {len(frames)} frames came out of {sys.argv[3]}"
    assert signature_of(imported) == signature_of(reference), "names, shapes or types differ from the reference"
    difference = largest_difference(imported, reference, frames)
    ours, theirs = cpu_times([imported, reference], frames, rounds=30)
    print(f"importer: {len(frames)} frames, largest difference {difference:.1e} (at most {TOLERANCE})")
    print(f"importer: {ours:.1f} ms per frame, reference {theirs:.1f} ms, ratio {ours / theirs:.2f}")
    assert difference <= TOLERANCE, "the imported model computes something else than the reference"
    assert ours <= theirs * SLOWEST_RATIO, "the imported model is slower than the reference"


if __name__ == "__main__":
    main()
