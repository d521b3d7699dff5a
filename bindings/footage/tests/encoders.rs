//! Real encoders' pictures go through the writer and come out in a real player frame for frame.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use aivms_contract::geometry::FrameSize;
use aivms_contract::time::UtcMillis;
use aivms_footage::clip::{ClipFragment, copy_range, extra_box, find_extra, read_clip};
use aivms_footage::{ClipPlan, ClipPlanner, FragmentHead, read_fragment, scan, scan_media};
use support::START;
use support::encoder::{
    B_PICTURES, BASELINE, H265, OPEN_H264, OPEN_H265, Recipe, Segment, Source, WITH_SOUND, encode, packets, record, run,
};

/// A checksum of each picture as shown, in order.
fn pictures(file: &Path) -> Vec<String> {
    let args = [
        "-v",
        "warning",
        "-i",
        file.to_str().unwrap(),
        "-map",
        "0:v",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ];
    let text = run("ffmpeg", &args);
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

/// Segments show every picture of the source once and at its time, and so does a clip of them.
fn check(recipe: Recipe, codecs: &str) {
    let directory = tempfile::tempdir().unwrap();
    let source = encode(recipe, directory.path());
    let segments = record(&source, 45_000, directory.path());
    let tracks = &segments[0].tracks;
    assert_eq!((tracks.codecs().as_str(), tracks.video.frame), (codecs, FrameSize { width: 316, height: 178 }));
    check_segments(&source, &segments);
    check_clip(&source, &segments);
}

fn check_segments(source: &Source, segments: &[Segment]) {
    assert_eq!(segments.len(), 4);
    let shown: Vec<String> = segments.iter().flat_map(|segment| pictures(&segment.path)).collect();
    assert_eq!(shown, pictures(&source.path));
    let mut from = 0;
    for segment in segments {
        let pts = packets(segment.path.to_str().unwrap(), "v", "pts");
        let dts = packets(segment.path.to_str().unwrap(), "v", "dts");
        let times = &source.units[from..from + pts.len()];
        // FFmpeg shows pictures with offsets below zero later by the largest such offset, all of them alike.
        let late = pts[0];
        assert!(late % 3600 == 0 && late <= 3 * 3600);
        assert_eq!(pts, times.iter().map(|(pts, _)| pts - times[0].0 + late).collect::<Vec<_>>());
        assert!(dts.is_sorted_by(|a, b| a < b));
        from += pts.len();
        check_scan(segment);
    }
    assert_eq!(from, 100);
}

fn check_scan(segment: &Segment) {
    let quick = scan(File::open(&segment.path).unwrap()).unwrap().unwrap();
    let thorough = scan_media(File::open(&segment.path).unwrap()).unwrap().unwrap();
    assert_eq!(quick, thorough);
    assert_eq!((quick.fragments, quick.closed), (segment.fragments.clone(), true));
    assert_eq!((quick.tracks, quick.about.start), (segment.tracks.clone(), segment.start));
    assert!(segment.fragments.iter().all(|info| info.duration <= 45_000 + 1800));
}

#[test]
fn h264_without_b_pictures_plays_frame_for_frame() {
    check(BASELINE, "avc1.42c00c");
}

#[test]
fn h264_with_b_pictures_plays_frame_for_frame() {
    check(B_PICTURES, "avc1.64000c");
}

#[test]
fn h264_with_sound_plays_frame_for_frame() {
    check(WITH_SOUND, "avc1.64000c,mp4a.40.2");
}

#[test]
fn h265_with_sound_plays_frame_for_frame() {
    check(H265, "hvc1.1.6.L60.90,mp4a.40.2");
}

/// Plans a clip of the fragments that `keep` lets through.
fn plan(segments: &[Segment], wanted: std::ops::Range<i64>, keep: impl Fn(usize) -> bool) -> ClipPlan {
    let wanted = UtcMillis::from_millis(START + wanted.start)..UtcMillis::from_millis(START + wanted.end);
    let mut planner = ClipPlanner::new(segments[0].tracks.clone(), wanted);
    for (_, segment) in segments.iter().enumerate().filter(|(at, _)| keep(*at)) {
        planner.segment(&segment.tracks, segment.start).unwrap();
        let file = std::fs::read(&segment.path).unwrap();
        for info in &segment.fragments {
            let head = FragmentHead::parse(&file[info.offset as usize..]).unwrap();
            planner.fragment(head, info.offset, info.hash).unwrap();
        }
    }
    planner.plan().unwrap()
}

fn write_clip(plan: &ClipPlan, segments: &[&Segment], path: &Path) {
    let mut out = File::create(path).unwrap();
    let mut buffer = Vec::new();
    let mut files: Vec<File> = segments.iter().map(|segment| File::open(&segment.path).unwrap()).collect();
    plan.write(&mut out, |range, out| copy_range(range, &mut files[range.segment], out, &mut buffer)).unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().len(), plan.bytes());
}

fn check_clip(source: &Source, segments: &[Segment]) {
    // From the 11th picture of the first second to the 16th of the third.
    let plan = plan(&segments[..3], 400..2600, |_| true);
    let path = source.path.with_file_name("clip.mp4");
    write_clip(&plan, &segments.iter().collect::<Vec<_>>(), &path);
    assert_eq!(pictures(&path), pictures(&source.path)[10..65]);
    assert_eq!((plan.start(), plan.duration()), (UtcMillis::from_millis(START + 400), Duration::from_millis(2200)));
    let mut times = packets(path.to_str().unwrap(), "v", "pts");
    times.sort_unstable();
    assert_eq!(times, (-10..65).map(|at| at * 3600).collect::<Vec<_>>());
    let file = std::fs::read(&path).unwrap();
    let place = |kind: &[u8]| file.windows(4).position(|window| window == kind).unwrap();
    assert!(place(b"moov") < place(b"mdat"));
    check_hashes(&path, &plan.fragments);
    if !source.sounds.is_empty() {
        let heard = packets(path.to_str().unwrap(), "a", "pts");
        // As much sound as pictures; sound is counted from the first picture shown.
        assert!((heard[heard.len() - 1] - 2200 * 48).abs() < 2048, "{heard:?}");
    }
}

fn check_hashes(path: &Path, fragments: &[ClipFragment]) {
    let clip = read_clip(File::open(path).unwrap()).unwrap().unwrap();
    let spans: Vec<_> = fragments.iter().map(|fragment| (fragment.wall, fragment.pictures, fragment.sounds)).collect();
    let hashes = clip.hashes(File::open(path).unwrap(), &spans).unwrap().unwrap();
    assert_eq!(hashes.into_iter().map(Some).collect::<Vec<_>>(), fragments.iter().map(|f| f.hash).collect::<Vec<_>>());
}

/// What refers to pictures of the segment before can be shown with them alone: in a clip of both.
#[test]
fn groups_of_pictures_that_refer_to_the_one_before_are_whole_in_a_clip() {
    for recipe in [OPEN_H264, OPEN_H265] {
        let directory = tempfile::tempdir().unwrap();
        let source = encode(recipe, directory.path());
        let segments = record(&source, 45_000, directory.path());
        assert!(segments.len() >= 3, "{}", segments.len());
        let plan = plan(&segments, 0..4000, |_| true);
        let path = directory.path().join("clip.mp4");
        write_clip(&plan, &segments.iter().collect::<Vec<_>>(), &path);
        assert_eq!(pictures(&path), pictures(&source.path));
    }
}

#[test]
fn a_clip_over_a_gap_closes_it_and_says_where_each_wall_time_is() {
    let directory = tempfile::tempdir().unwrap();
    let source = encode(WITH_SOUND, directory.path());
    let segments = record(&source, 45_000, directory.path());
    let plan = plan(&segments, 400..3600, |at| at != 1);
    let kept = [&segments[0], &segments[2], &segments[3]];
    let path = directory.path().join("clip.mp4");
    write_clip(&plan, &kept, &path);
    let all = pictures(&source.path);
    assert_eq!(pictures(&path), [&all[10..25], &all[50..90]].concat());
    let offset = |millis| plan.offset_of(UtcMillis::from_millis(START + millis)).as_millis();
    assert_eq!(
        [0, 400, 800, 1000, 1500, 2000, 2400, 3600, 9000].map(offset),
        [0, 0, 400, 600, 600, 600, 1000, 2200, 2200]
    );
    let at = |millis| UtcMillis::from_millis(START + millis);
    assert_eq!(plan.shown(), [at(400)..at(1000), at(2000)..at(3600)]);
    assert!(plan.covers(at(999)) && !plan.covers(at(1000)) && !plan.covers(at(399)));
    check_hashes(&path, &plan.fragments);
    let heard = packets(path.to_str().unwrap(), "a", "pts");
    assert!((heard[heard.len() - 1] - 2200 * 48).abs() < 2048, "{heard:?}");
}

#[test]
fn a_box_behind_a_clip_is_found_again_and_bothers_no_player() {
    let directory = tempfile::tempdir().unwrap();
    let source = encode(BASELINE, directory.path());
    let segments = record(&source, 90_000, directory.path());
    let plan = plan(&segments, 0..4000, |_| true);
    let path = directory.path().join("clip.mp4");
    write_clip(&plan, &segments.iter().collect::<Vec<_>>(), &path);
    let mut file = std::fs::read(&path).unwrap();
    let end = file.len() as u64;
    file.extend(extra_box(b"test box of ours", b"what is in it"));
    std::fs::write(&path, file).unwrap();
    assert_eq!(pictures(&path), pictures(&source.path));
    let found = find_extra(File::open(&path).unwrap(), b"test box of ours").unwrap();
    assert_eq!(found, Some((end, b"what is in it".to_vec())));
    assert_eq!(find_extra(File::open(&path).unwrap(), b"another box name").unwrap(), None);
}

#[test]
fn a_fragment_is_read_as_it_was_written_and_has_the_same_hash() {
    let directory = tempfile::tempdir().unwrap();
    let source = encode(WITH_SOUND, directory.path());
    let segments = record(&source, 90_000, directory.path());
    let file = bytes::Bytes::from(std::fs::read(&segments[1].path).unwrap());
    for info in &segments[1].fragments {
        let fragment = read_fragment(&file.slice(info.offset as usize..)).unwrap();
        assert_eq!(Some(aivms_footage::fragment_hash(&fragment)), info.hash);
        let mut again = Vec::new();
        aivms_footage::write_fragment(&fragment, 1, 0, &mut again).unwrap();
        assert_eq!(read_fragment(&again.into()).unwrap(), fragment);
    }
}
