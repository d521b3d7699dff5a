"""Runs one of the peers of our tracker over a file of boxes and prints its tracks.

`mot_track.py TRACKER DETECTIONS FPS STEP` takes every STEP-th frame of a sequence of FPS frames per second, like
`track_mot`. Prints one JSON object: `tracks`, a list of [frame, id, left, top, width, height], and `microseconds`, the
median time of one update. The trackers come from two environments, because norfair needs NumPy 1 and trackers NumPy 2;
each is imported where it is used.

Settings: `norfair` has the distance and the limit of Frigate's norfair_tracker.py (bottom middle, width and height in
units of the box, 2.5 at most), counts from the third box and gives up after 25 frames without one: half a second and
5 seconds of a camera of 5 frames per second. What Frigate adds in newer versions, such as another filter, is left out.
`norfair-iou` has norfair's own distance (intersection over union, 0.7 at most), counts from the third box as well, and
is left at its defaults otherwise. Its default of waiting 7 frames would cost it more. ByteTrack, SORT and OC-SORT have
the defaults of `trackers` and are told the frame rate.
"""

import json
import logging
import sys
import time
from collections import defaultdict

import numpy as np


def read_boxes(path: str) -> dict[int, np.ndarray]:
    """Boxes of each frame as rows of left, top, right, bottom in pixels, in the order of the file."""
    frames = defaultdict(list)
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            frame, _, left, top, width, height = (float(number) for number in line.split(",")[:6])
            frames[int(frame)].append([left, top, left + width, top + height])
    return {frame: np.array(boxes) for frame, boxes in frames.items()}


def frigate_distance(detection, tracked) -> float:
    """Length of the change from the estimate to the detection: of the bottom middle and of width and height."""
    found, expected = detection.points, tracked.estimate
    size, expected_size = found[1] - found[0], expected[1] - expected[0]
    foot = np.array([found[:, 0].mean(), found[1, 1]])
    expected_foot = np.array([expected[:, 0].mean(), expected[1, 1]])
    moved = (foot - expected_foot) / expected_size
    grown = np.maximum(size, expected_size) / np.minimum(size, expected_size) - 1
    return float(np.linalg.norm([*moved, *grown]))


class Norfair:
    """norfair, told apart by the settings it is given."""

    def __init__(self, **settings) -> None:
        from norfair import Detection, Tracker

        self.detection, self.tracker = Detection, Tracker(**settings)

    def prepare(self, boxes: np.ndarray) -> list:
        """What `update` takes."""
        return [self.detection(points=box.reshape(2, 2), data=box) for box in boxes]

    def update(self, found: list) -> list:
        """The objects that have a box in this frame, with that box as detected."""
        fresh = {id(detection) for detection in found}
        objects = self.tracker.update(found)
        return [(seen.id, seen.last_detection.data) for seen in objects if id(seen.last_detection) in fresh]


class Roboflow:
    """A tracker of the package `trackers`."""

    def __init__(self, name: str, fps: float) -> None:
        import supervision
        import trackers

        self.detections = supervision.Detections
        self.tracker = getattr(trackers, name)(frame_rate=fps)

    def prepare(self, boxes: np.ndarray):
        """What `update` takes."""
        return self.detections(xyxy=boxes, confidence=np.ones(len(boxes)), class_id=np.zeros(len(boxes), dtype=int))

    def update(self, found) -> list:
        """The boxes that belong to a track."""
        seen = self.tracker.update(found)
        return [(number, box) for number, box in zip(seen.tracker_id.tolist(), seen.xyxy) if number >= 0]


def make(name: str, fps: float):
    """The tracker of that name for a camera of `fps` frames per second."""
    match name:
        case "norfair":
            settings = {"initialization_delay": 2, "hit_counter_max": 25}
            return Norfair(distance_function=frigate_distance, distance_threshold=2.5, **settings)
        case "norfair-iou":
            return Norfair(distance_function="iou", distance_threshold=0.7, initialization_delay=2)
        case "bytetrack":
            return Roboflow("ByteTrackTracker", fps)
        case "sort":
            return Roboflow("SORTTracker", fps)
        case "oc-sort":
            return Roboflow("OCSORTTracker", fps)
    raise SystemExit(f"no tracker is called {name}")


def main() -> None:
    """Runs the tracker named on the command line."""
    # norfair warns of the speed of a distance that it must call pair by pair, as Frigate's is.
    logging.disable(logging.WARNING)
    name, path, fps, step = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    frames = read_boxes(path)
    tracker, tracks, spent = make(name, fps / step), [], []
    for frame in range(1, max(frames) + 1, step):
        found = tracker.prepare(frames.get(frame, np.empty((0, 4))))
        start = time.perf_counter()
        seen = tracker.update(found)
        spent.append(time.perf_counter() - start)
        tracks += [[frame, int(n), x1, y1, x2 - x1, y2 - y1] for n, (x1, y1, x2, y2) in seen]
    print(json.dumps({"tracks": tracks, "microseconds": float(np.median(spent)) * 1e6}))


if __name__ == "__main__":
    main()
