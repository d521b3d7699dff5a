"""Judges our tracker and its peers on the same boxes of public sequences with the same metrics, in one run.

`mot_peers.py TRACK_MOT PYTHON` takes our release example `track_mot` and the Python that has `trackers`; its own Python
has norfair and motmetrics. The sequences are those that motmetrics ships, with the boxes of another tracker's output
without their ids: each at its full rate and at every 5th frame, as of a camera analysed at 5 frames a second. MOTA, IDF1
and number switches are those of motmetrics at IoU 0.5; time is the median of one update.

Prints rows as `make bench` reads them: `mot.SET.STEP.TRACKER.FIGURE`, and what is promised of them: `mot.lead.mota` and
`mot.lead.idf1`, the least lead over norfair and ByteTrack over both sequences together at either rate, and
`mot.time`, our time as part of norfair's at the full rate, in its faster setting. Fails if the evaluator of our own
tests counts otherwise than motmetrics.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import warnings

import motmetrics

DATA = pathlib.Path(motmetrics.__file__).parent / "data"
SETS = ["TUD-Campus", "TUD-Stadtmitte"]
FPS = 25
STEPS = [1, 5]
OURS = "ours"
OF_NORFAIR = ["norfair", "norfair-iou"]
OF_TRACKERS = ["bytetrack", "sort", "oc-sort"]
# Whom the issue names as those to be at least level with.
RIVALS = [*OF_NORFAIR, "bytetrack"]
FIGURES = {"mota": "mota", "idf1": "idf1", "num_switches": "switches"}


def read_objects(text: str) -> dict[int, list]:
    """The number and the box of each object of each frame, from lines of a MOT file."""
    frames = {}
    for line in text.splitlines():
        frame, number, *box = (float(value) for value in line.split(",")[:6])
        frames.setdefault(int(frame), []).append((int(number), box))
    return frames


def run_ours(program: str, folder: pathlib.Path, step: int) -> tuple[dict, dict]:
    """Our tracks, and what the program says of them."""
    arguments = [program, folder / "test.txt", str(FPS), str(step), "0.5", folder / "gt.txt"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return read_objects(done.stdout), json.loads(done.stderr)


def run_peer(python: str, name: str, folder: pathlib.Path, step: int) -> tuple[dict, dict]:
    """A peer's tracks, and its time."""
    program = pathlib.Path(__file__).with_name("mot_track.py")
    arguments = [python, program, name, folder / "test.txt", str(FPS), str(step)]
    told = json.loads(subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout)
    frames = {}
    for frame, number, *box in told["tracks"]:
        frames.setdefault(frame, []).append((number, box))
    return frames, told


def judged(truth: dict, tracks: dict, step: int) -> motmetrics.MOTAccumulator:
    """The events of a sequence."""
    events = motmetrics.MOTAccumulator()
    for frame in range(1, max(truth) + 1, step):
        objects, boxes = truth.get(frame, []), tracks.get(frame, [])
        distances = motmetrics.distances.iou_matrix([o[1] for o in objects], [b[1] for b in boxes], max_iou=0.5)
        events.update([o[0] for o in objects], [b[0] for b in boxes], distances, frameid=frame)
    return events


def figures_of(run, step: int) -> dict:
    """Figures of each sequence and of both together; `run` gives the tracks and what was told for a folder and step."""
    events, told = [], []
    for name in SETS:
        tracks, said = run(DATA / name, step)
        events.append(judged(read_objects((DATA / name / "gt.txt").read_text()), tracks, step))
        told.append(said)
    judge = motmetrics.metrics.create()
    table = judge.compute_many(events, metrics=list(FIGURES), names=SETS, generate_overall=True)
    result = {}
    for name, said in zip([*SETS, "overall"], [*told, None]):
        line = table.loc[name.upper() if said is None else name]
        result[name] = {ours: float(line[theirs]) for theirs, ours in FIGURES.items()}
        if said is not None:
            check(said, result[name])
            result[name]["time"] = said["microseconds"]
    result["overall"]["time"] = sum(said["microseconds"] for said in told) / len(told)
    return result


def check(said: dict, found: dict) -> None:
    """Refuses figures of our own evaluator that differ from those of motmetrics."""
    for figure in set(said) & set(found):
        if abs(said[figure] - found[figure]) > 1e-9:
            sys.exit(f"our evaluator says {figure} {said[figure]}, motmetrics {found[figure]}")


def row(name: str, value: float, unit: str) -> None:
    """Prints a row."""
    print(json.dumps({"bench": name, "value": value, "unit": unit}))


def main() -> None:
    """Runs everything."""
    warnings.simplefilter("ignore")
    program, python = sys.argv[1:]
    runs = {OURS: lambda folder, step: run_ours(program, folder, step)}
    for names, interpreter in [(OF_NORFAIR, sys.executable), (OF_TRACKERS, python)]:
        runs |= {n: lambda f, s, n=n, i=interpreter: run_peer(i, n, f, s) for n in names}
    # motmetrics prints while it works; only rows may go to the output.
    with contextlib.redirect_stdout(sys.stderr):
        found = {step: {name: figures_of(run, step) for name, run in runs.items()} for step in STEPS}
    for step, trackers in found.items():
        for name, sets in trackers.items():
            for place, figures in sets.items():
                for figure, value in figures.items():
                    row(f"mot.{place}.{step}.{name}.{figure}", value, "µs" if figure == "time" else "")
    overall = {step: {name: sets["overall"] for name, sets in trackers.items()} for step, trackers in found.items()}
    for figure in ["mota", "idf1"]:
        leads = [o[OURS][figure] - max(o[rival][figure] for rival in RIVALS) for o in overall.values()]
        row(f"mot.lead.{figure}", min(leads), "")
    row("mot.time", overall[1][OURS]["time"] / min(overall[1][name]["time"] for name in OF_NORFAIR), "of it")


if __name__ == "__main__":
    main()
