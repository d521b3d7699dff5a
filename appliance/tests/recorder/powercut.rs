//! Power cuts: what the real recorder writes is noted below it, and the disk rebuilt as a cut at any moment leaves it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::disk::{Model, Recording};
use crate::material::{Material, SMALL};
use crate::program::{self, Ledger, Plan, SEGMENT};
use crate::rig::{Rig, scratch};

const CUTS_PER_MODEL: usize = 20;
/// Time that a busy machine may take to write and sync what was fed.
const SLACK: Duration = Duration::from_millis(150);

#[test]
fn a_power_cut_costs_at_most_a_second_and_index_and_files_agree_after_it() {
    let dir = scratch();
    let root = dir.path().join("site");
    std::fs::create_dir(&root).unwrap();
    let material = Material::new(dir.path(), SMALL);
    let mut recording = Recording::begin(&root);
    let (log, library) = (root.with_extension("recording"), library(dir.path()));
    for run in 0..2 {
        let mut child = program::spawn(&root, Plan { run, pace: 4, for_ms: 1_500 }, |command| {
            command.env("LD_PRELOAD", &library).env("RECORD_ROOT", &root).env("RECORD_LOG", &log);
        });
        child.wait().unwrap();
        let before = recording.len();
        recording.follow(&log);
        let output = std::fs::read_to_string(root.with_extension("log")).unwrap();
        assert!(recording.len() > before + 100, "the recorder did nothing: {output}");
        assert!(!output.contains("panicked at"), "{output}");
    }
    let mut random = fastrand::Rng::new();
    for model in [Model::Blocks, Model::InOrder] {
        for _ in 0..CUTS_PER_MODEL {
            let (cut, seed) = (random.usize(0..=recording.len()), random.u64(..));
            eprintln!("cut {cut} of {}, {model:?}, seed {seed}", recording.len());
            check(&recording, cut, model, seed, &material);
        }
    }
}

/// Rebuilds the disk after a cut and looks at it as the next start would, twice.
fn check(recording: &Recording, cut: usize, model: Model, seed: u64, material: &Material) {
    let dir = scratch();
    let root = dir.path().join("site");
    recording.rebuild(cut, model, &mut fastrand::Rng::with_seed(seed), &root);
    // What the program had noted by then, whether or not it reached the disk.
    let ledger = Ledger::read(&recording.seen("notes", cut));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..2 {
            let rig = Rig::complete(&root, SEGMENT).await;
            ledger.check(&rig, material, SLACK);
            rig.close().await;
        }
    });
}

fn library(dir: &Path) -> PathBuf {
    let library = dir.join("recorder.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outbox/powercut/recorder.c");
    let compiled = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.expect("the system C compiler, cc").success());
    library
}
