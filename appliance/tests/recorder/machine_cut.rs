//! The power cut of a whole machine: its kernel, its file system and its disk are real, and it is switched off.

use std::path::Path;
use std::time::Duration;

use aivms_contract::time::UtcMillis;

use crate::machine::{Machine, guest, make_readable};
use crate::material::{Material, SMALL};
use crate::program::{Ledger, PLAN, ROOT, SEGMENT};
use crate::rig::{Rig, scratch};

/// Cuts, each of the machine that the one before left.
const CUTS: u64 = 2;
/// Time that an emulated machine may take to write and sync what was fed.
const SLACK: Duration = Duration::from_millis(500);

#[test]
fn a_machine_that_is_switched_off_loses_at_most_a_second_of_video_and_goes_on_by_itself() {
    let Some(guest) = guest() else {
        eprintln!("left out: this needs a virtual machine");
        return;
    };
    let dir = scratch();
    let disk = dir.path().join("disk");
    std::fs::create_dir_all(disk.join("site")).unwrap();
    let material = Material::new(&disk, SMALL);
    let mut random = fastrand::Rng::new();
    let mut fed = String::new();
    for run in 0..CUTS {
        let plan = format!("{run} 1 600000");
        let environment = [(ROOT, "/data/site"), (PLAN, plan.as_str()), ("GST_PLUGIN_SYSTEM_PATH", "/none")];
        let arguments = ["--exact", "program::recording_program", "--ignored", "--nocapture"];
        let machine = Machine::new(dir.path(), &guest, &arguments, &environment, &disk);
        let running = machine.start();
        let mut said = vec![running.until_says(&format!("{run} 0 "))];
        let length = Duration::from_millis(random.u64(3_000..8_000));
        said.extend(running.says_for(length));
        said.extend(running.cut());
        let (synced, pictures): (Vec<_>, Vec<_>) = said.iter().partition(|line| line.starts_with("synced "));
        assert!(!synced.is_empty(), "nothing was synced in {length:?}: {said:?}");
        // The last line may be cut off.
        let whole = pictures.iter().filter(|line| line.split(' ').count() == 3);
        fed.extend(whole.map(|line| format!("{line}\n")));
        machine.files(&disk);
        make_readable(&disk);
        check(&disk, &fed, &synced, &material);
    }
}

/// Opens the footage as the next start would, and once more.
fn check(disk: &Path, fed: &str, synced: &[&String], material: &Material) {
    let copy = scratch();
    let copied = std::process::Command::new("cp").arg("-r").arg(disk.join("site")).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    let root = copy.path().join("site");
    let ledger = Ledger::read(fed.as_bytes());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..2 {
            let rig = Rig::complete(&root, SEGMENT).await;
            ledger.check(&rig, material, SLACK);
            synced.iter().for_each(|line| check_synced(&rig, line));
            rig.close().await;
        }
    });
}

/// Checks that what the program took for safe from a power cut was.
fn check_synced(rig: &Rig, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let [_, camera, end] = words[..] else { return };
    let (Ok(end), newest) = (end.parse(), rig.footage.newest(&camera.parse().unwrap())) else { return };
    assert!(newest >= Some(UtcMillis::from_millis(end)), "{line}, but the footage ends at {newest:?}");
}
