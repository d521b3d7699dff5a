//! What `aivms-verify` says of recordings and clips: untouched ones pass, and every change to one is found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

#[path = "../../bindings/footage/tests/support/mod.rs"]
mod support;
mod world;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{Found, Treatment, examine_clip};
use aivms_verify::{Ask, Report, Verdict};
use support::START;
use world::{Authority, World};

fn ask(path: &Path) -> Ask {
    Ask { paths: vec![path.to_owned()], ..Ask::default() }
}

fn check(path: &Path) -> Report {
    aivms_verify::check(&ask(path)).unwrap()
}

/// What is altered or in doubt, in words.
fn found(report: &Report) -> Vec<String> {
    let findings = report.checked.iter().flat_map(|checked| &checked.findings);
    findings.filter(|told| told.level > aivms_footage::chain::Level::Note).map(|told| told.text.clone()).collect()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aivms-verify")).args(arguments).env_clear().output().unwrap()
}

fn says(report: &Report, text: &str) -> bool {
    found(report).iter().any(|found| found.contains(text))
}

#[test]
fn a_clip_is_checked_by_the_stand_alone_command_and_says_who_signed_it() {
    let authority = Authority::new();
    let mut world = World::new(&authority);
    let gap = world.gap(UtcMillis::from_millis(START + 2000), UtcMillis::from_millis(START + 2100));
    let clip = world.clip(Treatment::Copied, vec![gap], true);
    let (ca, other) = (world.dir.path().join("ca.pem"), world.dir.path().join("other.pem"));
    authority.write(&ca);
    Authority::new().write(&other);
    let (clip, ca, other) = (clip.to_str().unwrap(), ca.to_str().unwrap(), other.to_str().unwrap());

    let vouched = run(&[clip, "--ca", ca]);
    let text = String::from_utf8(vouched.stdout).unwrap();
    assert_eq!(vouched.status.code(), Some(0), "{text}");
    for part in [
        "camera door of edge edge_1",
        "fragments 0 to 1: OK",
        "gap 2026-11-22T13:05:02.250Z to",
        "edge edge_1 of tenant acme",
        "the given authority vouches for it",
        "OK: nothing was changed",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let unknown = run(&[clip]);
    let text = String::from_utf8(unknown.stdout).unwrap();
    assert_eq!(unknown.status.code(), Some(0), "{text}");
    assert!(text.contains("who signed is not checked: compare the key"), "{text}");
    let stranger = run(&[clip, "--ca", other, "--json"]);
    assert_eq!(stranger.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&stranger.stdout).unwrap();
    assert_eq!(
        (&json["verdict"], &json["checked"][0]["signers"][0]["vouched_for"]),
        (&"altered".into(), &false.into())
    );
    assert_eq!(run(&["/no/such/file"]).status.code(), Some(2));
    assert_eq!(run(&[clip, "--ca", clip]).status.code(), Some(2));
}

#[test]
fn players_see_the_clip_and_skip_its_manifest() {
    let world = World::new(&Authority::new());
    let sealed = world.clip(Treatment::Copied, vec![], true);
    let probe = |path: &Path| {
        let show = "stream=codec_name,nb_read_frames:format=duration";
        support::encoder::run(
            "ffprobe",
            &["-v", "error", "-count_frames", "-show_entries", show, path.to_str().unwrap()],
        )
    };
    let bare = world.dir.path().join("bare.mp4");
    let at = Found::read(fs::File::open(&sealed).unwrap()).unwrap().at;
    fs::write(&bare, &fs::read(&sealed).unwrap()[..at as usize]).unwrap();
    assert_eq!(probe(&sealed), probe(&bare));
    assert!(probe(&sealed).contains("codec_name=h264"));
}

#[test]
fn every_changed_byte_of_a_clip_is_found() {
    let world = World::new(&Authority::new());
    let path = world.clip(Treatment::Copied, vec![], true);
    let whole = fs::read(&path).unwrap();
    let found_here = Found::read(fs::File::open(&path).unwrap()).unwrap();
    let media = aivms_footage::clip::read_clip(fs::File::open(&path).unwrap()).unwrap().unwrap().media;
    assert!(examine_clip(fs::File::open(&path).unwrap(), &found_here).unwrap().fragments.is_ok());
    // All bytes of headers, and some of every region: tables, pictures, manifest.
    let heads = (0..24).chain(media.start - 8..media.start + 8).chain(found_here.at - 8..found_here.at + 24);
    let spread = (0..media.start)
        .step_by(53)
        .chain(media.clone().step_by(3001))
        .chain((media.end..whole.len() as u64).step_by(97));
    let mut tried = 0;
    for at in heads.chain(spread).chain(whole.len() as u64 - 12..whole.len() as u64) {
        let mut changed = whole.clone();
        changed[at as usize] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        let report = check(&path);
        assert_eq!(report.verdict, Verdict::Altered, "byte {at} of {}", whole.len());
        if media.contains(&at) {
            assert!(says(&report, "pictures or sound were changed at 2026-11-22T13:05:0"), "{:?}", found(&report));
        }
        tried += 1;
    }
    assert!(tried > 150, "{tried}");
    for cut in [whole.len() - 1, found_here.at as usize, media.start as usize + 5, 20] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(check(&path).verdict, Verdict::Altered, "cut to {cut}");
    }
    fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    assert!(says(&check(&path), "4 bytes were added after the manifest"));
}

#[test]
fn a_masked_clip_is_checked_by_its_own_bytes_and_names_its_segments() {
    let world = World::new(&Authority::new());
    let path = world.clip(Treatment::Masked, vec![], true);
    let report = check(&path);
    assert_eq!(report.verdict, Verdict::Doubtful, "{report}");
    assert!(report.to_string().contains("re-encoded with the camera's privacy mask from"));
    let mut changed = fs::read(&path).unwrap();
    let middle = Found::read(fs::File::open(&path).unwrap()).unwrap().at as usize - 100;
    changed[middle] ^= 1;
    fs::write(&path, &changed).unwrap();
    assert!(says(&check(&path), "pictures or sound of the clip were changed"));
}

#[test]
fn a_clip_that_nobody_signed_proves_nothing_to_who_asks_for_an_authority() {
    let authority = Authority::new();
    let world = World::new(&authority);
    let path = world.clip(Treatment::Copied, vec![], false);
    assert!(says(&check(&path), "the clip is not signed"));
    let ca = world.dir.path().join("ca.pem");
    authority.write(&ca);
    let report = aivms_verify::check(&Ask { ca: Some(ca), ..ask(&path) }).unwrap();
    assert_eq!(report.verdict, Verdict::Altered, "{report}");
}

#[test]
fn untouched_recordings_pass_and_every_changed_byte_of_a_segment_is_found() {
    let authority = Authority::new();
    let world = World::new(&authority);
    let ca = world.dir.path().join("ca.pem");
    authority.write(&ca);
    let with_ca = Ask { ca: Some(ca), ..ask(&world.recordings()) };
    let report = aivms_verify::check(&with_ca).unwrap();
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    let path = &world.segments[1].path;
    let whole = fs::read(path).unwrap();
    let regions: Vec<_> = world.segments[1].fragments.iter().map(|info| info.offset as usize).collect();
    let heads = regions.iter().flat_map(|at| *at..at + 90);
    for at in heads.chain((0..whole.len()).step_by(2003)).chain(whole.len() - 24..whole.len()) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(path, &changed).unwrap();
        let report = check(&world.recordings());
        assert_eq!(report.verdict, Verdict::Altered, "byte {at} of {}", whole.len());
        assert!(says(&report, &format!("segment at {}", world.segments[1].start)), "{:?}", found(&report));
    }
    let last = regions.last().unwrap() + 1500;
    let mut changed = whole.clone();
    changed[last] ^= 1;
    fs::write(path, &changed).unwrap();
    let fragment = format!("were changed, fragment {}", regions.len() - 1);
    assert!(says(&check(&world.recordings()), &fragment), "{:?}", found(&check(&world.recordings())));
    for length in [0, 100, whole.len() - 1] {
        fs::write(path, &whole[..length]).unwrap();
        assert_eq!(check(&world.recordings()).verdict, Verdict::Altered, "cut to {length}");
    }
}

#[test]
fn a_segment_may_only_be_missing_when_its_deletion_is_on_record() {
    let mut world = World::new(&Authority::new());
    world.delete(0);
    assert_eq!(check(&world.recordings()).verdict, Verdict::Doubtful, "{}", check(&world.recordings()));
    fs::remove_file(&world.segments[1].path).unwrap();
    let report = check(&world.recordings());
    assert!(says(&report, &format!("segment at {} is missing", world.segments[1].start)), "{report}");
}

#[test]
fn a_chain_reordered_cut_or_shortened_is_found() {
    let world = World::new(&Authority::new());
    let lines: Vec<_> = world.lines.iter().map(|line| line.as_str().to_owned()).collect();
    let write = |lines: &[String]| fs::write(world.chain(), lines.join("\n") + "\n").unwrap();
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    write(&swapped);
    assert!(
        says(&check(&world.recordings()), "record 3 stands where")
            || says(&check(&world.recordings()), "records from 2 to 2 are missing")
    );
    let mut cut = lines.clone();
    cut.remove(2);
    write(&cut);
    assert!(says(&check(&world.recordings()), "1 records from 2 to 2 are missing"));
    // The end cut off together with its segment shows only against what the cloud knows.
    write(&lines[..lines.len() - 1]);
    fs::remove_file(&world.segments.last().unwrap().path).unwrap();
    assert_eq!(check(&world.recordings()).verdict, Verdict::Doubtful);
    let head = world.head().unwrap();
    let known = format!("door:{}:{}", head.seq, head.hash);
    let report = run(&["--head", &known, world.recordings().to_str().unwrap()]);
    let text = String::from_utf8(report.stdout).unwrap();
    assert!(report.status.code() == Some(1) && text.contains("its end was cut off"), "{text}");
    fs::write(world.chain(), lines.join("\n") + "\nhalf a rec").unwrap();
    assert!(says(&check(&world.recordings()), "the last record is unfinished"));
}

#[test]
fn a_certificate_of_another_edge_or_key_is_named() {
    let authority = Authority::new();
    let mut world = World::new(&authority);
    let ca = world.dir.path().join("ca.pem");
    authority.write(&ca);
    world.device.change.certificates = authority.device("edge_2").change.certificates;
    let clip = world.clip(Treatment::Copied, vec![], true);
    let report = aivms_verify::check(&Ask { ca: Some(ca.clone()), ..ask(&clip) }).unwrap();
    assert!(says(&report, "belongs to another key"), "{report}");
    let mut world = World::new(&authority);
    world.device = authority.device("edge_2");
    let clip = world.clip(Treatment::Copied, vec![], true);
    let report = aivms_verify::check(&Ask { ca: Some(ca), ..ask(&clip) }).unwrap();
    assert!(says(&report, "is that of edge_2, and the records name another edge"), "{report}");
}

/// The commands of docs/ref/evidence.md.
#[test]
fn a_record_can_be_checked_by_hand_with_openssl() {
    let world = World::new(&Authority::new());
    let script = r#"
        set -e
        cut -f1 $CHAIN | sed -n 2p | jq -r '.what.key.public_key' | base64 -d | openssl pkey -pubin -inform DER -out key.pem
        sed -n 3p $CHAIN | cut -f1 | tr -d '\n' > record
        sed -n 3p $CHAIN | cut -f2 | base64 -d > signature
        openssl dgst -sha256 -verify key.pem -signature signature record
        sed -n 2p $CHAIN | tr -d '\n' | sha256sum | cut -c1-64
        jq -r .prev record
        openssl pkey -pubin -in key.pem -outform DER | sha256sum | cut -c1-64
        jq -r .key record
    "#;
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", script]).env("CHAIN", world.chain()).current_dir(world.dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "Verified OK");
    assert_eq!((lines[1], lines[3]), (lines[2], lines[4]), "{text}");
}
