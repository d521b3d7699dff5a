//! A program that records four cameras until it is killed and notes what it has fed, and what must be there then.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aivms_contract::time::UtcMillis;

use crate::machine::SAYS;
use crate::material::{FPS, Material, SMALL};
use crate::rig::{Rig, at};

pub(crate) const ROOT: &str = "RECORDING_ROOT";
pub(crate) const PLAN: &str = "RECORDING_PLAN";
/// The cameras.
pub(crate) const CAMERAS: [&str; 4] = ["east", "north", "south", "west"];
/// Short, so that many begin and end.
pub(crate) const SEGMENT: Duration = Duration::from_secs(2);
/// Milliseconds of wall time between the beginnings of two runs' media.
pub(crate) const RUN_MS: i64 = 600_000;
/// Video that may be missing at the end.
const MISSING_MS: i64 = 1_000;

/// What one run does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Number of the run: its media begins at this multiple of [`RUN_MS`].
    pub(crate) run: i64,
    /// How much faster than real time it feeds.
    pub(crate) pace: u32,
    /// Milliseconds after which it ends by itself, in the middle of things.
    pub(crate) for_ms: u64,
}

/// Starts a run over `root`; `prepare` may add to its environment.
pub(crate) fn spawn(root: &Path, plan: Plan, prepare: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let log = OpenOptions::new().create(true).append(true).open(root.with_extension("log")).unwrap();
    command
        .args(["--exact", "program::recording_program", "--ignored", "--nocapture"])
        .env(ROOT, root)
        .env(PLAN, format!("{} {} {}", plan.run, plan.pace, plan.for_ms))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    prepare(&mut command);
    command.spawn().unwrap()
}

#[test]
#[ignore = "the child process of other tests, which ends by being killed"]
fn recording_program() {
    let root = std::env::var_os(ROOT).expect("started by another test");
    let plan = std::env::var(PLAN).unwrap();
    let numbers: Vec<i64> = plan.split(' ').map(|number| number.parse().unwrap()).collect();
    let plan =
        Plan { run: numbers[0], pace: u32::try_from(numbers[1]).unwrap(), for_ms: u64::try_from(numbers[2]).unwrap() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(record(Path::new(&root), plan));
}

async fn record(root: &Path, plan: Plan) {
    let material = Material::new(root.parent().unwrap(), SMALL);
    let mut notes = OpenOptions::new().create(true).append(true).open(root.join("notes")).unwrap();
    // A power cut costs a second at this pace, too.
    let rig = Rig::syncing(root, SEGMENT, Duration::from_secs(1) / plan.pace);
    let cameras = CAMERAS.map(|camera| rig.connect(camera, at(plan.run * RUN_MS)));
    let begun = Instant::now();
    let mut number = 0;
    let mut told = BTreeMap::new();
    while begun.elapsed() < Duration::from_millis(plan.for_ms) {
        for camera in &cameras {
            camera.feed(material.unit(number));
        }
        note(&mut notes, plan.run, number, begun.elapsed());
        tell_synced(&rig, &mut told);
        number += 1;
        let due = Duration::from_micros(number * 1_000_000 / FPS) / plan.pace;
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
    }
    // As abruptly as a kill, but at a known time.
    std::process::abort();
}

/// Says on the standard output what is safe from a power cut: `synced CAMERA WALL_TIME_IN_MS`, a line for each change.
fn tell_synced(rig: &Rig, told: &mut BTreeMap<&str, UtcMillis>) {
    for camera in CAMERAS {
        if let Some(end) = rig.footage.synced(&camera.parse().unwrap())
            && told.insert(camera, end) != Some(end)
        {
            println!("{SAYS}synced {camera} {}", end.as_millis());
        }
    }
}

fn note(notes: &mut File, run: i64, number: u64, after: Duration) {
    let line = format!("{run} {number} {}\n", after.as_millis());
    notes.write_all(line.as_bytes()).unwrap();
    // For those who see the console only.
    print!("{SAYS}{line}");
}

/// What runs have fed: for each the pictures with the time after its beginning, in milliseconds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    runs: BTreeMap<i64, Vec<u64>>,
}

impl Ledger {
    /// Takes what was noted so far; a last line without its end was never noted.
    pub(crate) fn read(notes: &[u8]) -> Self {
        let mut ledger = Self::default();
        let text = std::str::from_utf8(notes).unwrap();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.split(' ').collect();
            let fed = ledger.runs.entry(words[0].parse().unwrap()).or_default();
            assert_eq!(fed.len().to_string(), words[1], "pictures are fed in order");
            fed.push(words[2].parse().unwrap());
        }
        ledger
    }

    /// Checks that of each run all pictures are there, once and in order and as they were fed, but for those of the last
    /// second. `slack` is the time before the end of a run in which what was fed may not have been looked at yet.
    pub(crate) fn check(&self, rig: &Rig, material: &Material, slack: Duration) {
        for camera in CAMERAS {
            let segments = rig.segments(camera);
            for (run, fed) in &self.runs {
                let (start, end) = (at(run * RUN_MS), at((run + 1) * RUN_MS));
                let of_run: Vec<_> =
                    segments.iter().filter(|one| one.start >= start && one.start < end).cloned().collect();
                let pictures = rig.pictures(&of_run);
                for (number, picture) in pictures.iter().enumerate() {
                    assert_eq!(picture, material.stored(number as u64), "{camera}, run {run}, picture {number}");
                }
                let stopped = fed.last().copied().unwrap_or(0);
                let old = u64::try_from(slack.as_millis()).unwrap();
                let sure = fed.iter().filter(|after| **after + old <= stopped).count();
                let missing = i64::try_from(sure).unwrap() - i64::try_from(pictures.len()).unwrap();
                let missing_ms = missing * 1000 / i64::try_from(FPS).unwrap();
                assert!(missing_ms <= MISSING_MS, "{camera}, run {run}: {missing_ms} ms of {} are missing", fed.len());
                assert!(of_run.windows(2).all(|pair| pair[0].end == pair[1].start), "{camera}, run {run}: a gap");
            }
            agree(rig, camera);
        }
    }
}

/// Checks that index and files of a camera agree.
fn agree(rig: &Rig, camera: &str) {
    let segments = rig.segments(camera);
    let mut listed: Vec<_> = segments.iter().map(|segment| segment.path.clone()).collect();
    listed.sort();
    assert_eq!(listed, crate::rig::files(&rig.footage.folders().fast.join(camera)));
    for segment in segments {
        let scan = aivms_footage::scan_media(File::open(&segment.path).unwrap()).unwrap().unwrap();
        assert!(scan.closed, "{}", segment.path.display());
        assert_eq!(scan.good_bytes, segment.bytes);
        assert_eq!(segment.path.metadata().unwrap().len(), segment.bytes);
        assert_eq!(scan.fragments.last().map(aivms_footage::FragmentInfo::wall_end), Some(segment.end));
        assert!(scan.fragments.iter().map(|info| info.offset).eq(segment.fragments.iter().map(|info| info.offset)));
        assert!(scan.about.start <= UtcMillis::from_millis(segment.start.as_millis()));
    }
}
