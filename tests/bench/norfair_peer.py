"""Times norfair, the tracker of a well-known NVR, on the scene that bench_vision gives our own tracker.

50 boxes of 40 x 90 pixels drift over a 1000 x 1000 frame; prints the median of one update in microseconds.
"""

import statistics
import time

import numpy as np
from norfair import Detection, Tracker


def main() -> None:
    """Runs 100 frames after 10 warm-up frames."""
    random = np.random.default_rng(1)
    corners = random.uniform(0, 1000, (50, 2))
    velocities = random.uniform(-3, 3, (50, 2))
    tracker = Tracker(distance_function="iou", distance_threshold=0.7)
    spent = []
    for _ in range(110):
        corners += velocities
        boxes = [Detection(points=np.array([[x, y], [x + 40, y + 90]])) for x, y in corners]
        start = time.perf_counter()
        tracker.update(boxes)
        spent.append(time.perf_counter() - start)
    print(f"{statistics.median(spent[10:]) * 1e6:.1f}")


if __name__ == "__main__":
    main()
