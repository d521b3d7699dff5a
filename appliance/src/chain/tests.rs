use std::path::Path;
use std::time::Duration;

use aivms_contract::footage::GapCause;
use aivms_contract::geometry::FrameSize;
use aivms_footage::chain::{BeginReason, Line, Treatment};
use aivms_footage::{
    ClipPlanner, Fragment, FragmentHead, FragmentInfo, FragmentTable, Sample, SegmentAbout, Tracks, VideoCodec,
    VideoTrack, init_segment, write_fragment, write_tail,
};
use aivms_verify::{Ask, Report, Verdict};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::identity::DeviceKey;
use crate::testing::Authority;

/// A camera's recordings in a folder, and the chain that is kept of them.
struct Site {
    dir: TempDir,
    authority: Authority,
    identity: watch::Sender<Option<Arc<Identity>>>,
}

/// A running chain.
struct Running {
    chain: Chain,
    thread: JoinHandle<()>,
}

/// A written segment.
struct Written {
    start: UtcMillis,
    path: PathBuf,
    fragments: Vec<FragmentInfo>,
}

fn camera() -> CameraId {
    "gate".parse().unwrap()
}

fn at(seconds: i64) -> UtcMillis {
    UtcMillis::from_millis(1_795_352_700_000 + seconds * 1000)
}

fn tracks() -> Tracks {
    let config = Bytes::from_static(&[1, 0x64, 0, 0x1f, 0xff, 0xe0]);
    let video = VideoTrack { codec: VideoCodec::H264, frame: FrameSize { width: 320, height: 180 }, config };
    Tracks { video, audio: None }
}

impl Site {
    fn new() -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        Self { dir, authority, identity: watch::channel(None).0 }
    }

    fn enrolled() -> Self {
        let site = Self::new();
        site.take_key();
        site
    }

    /// Gives the edge a new key, as enrolment and renewal do.
    fn take_key(&self) {
        let key = DeviceKey::generate().unwrap();
        let enrollment = self.authority.enroll(&key.certificate_request().unwrap(), "acme", "edge_1", 8883);
        self.identity.send_replace(Some(Arc::new(key.certified(enrollment).unwrap())));
    }

    fn recordings(&self) -> PathBuf {
        self.dir.path().join("recordings")
    }

    fn start(&self) -> Running {
        let settings = ChainSettings { recordings: self.recordings(), slow: None, edge: "edge_1".parse().unwrap() };
        let (chain, writer) = Chain::new(settings, self.identity.subscribe());
        Running { chain, thread: tokio::task::spawn_blocking(|| writer.run()) }
    }

    /// A closed segment of three fragments of a second.
    fn segment(&self, second: i64) -> Written {
        let start = at(second);
        let about = SegmentAbout { edge: Some("edge_1".parse().unwrap()), camera: camera(), start };
        let mut file = init_segment(&tracks(), &about);
        let mut fragments = Vec::new();
        for number in 0..3 {
            let fill = number as u8 + second as u8;
            let data: Vec<u8> = [&[0, 0, 0, 200][..], &[fill; 200]].concat();
            let sample = |picture: u64| Sample {
                dts: (number * 5 + picture) * 18_000,
                composition: 0,
                duration: 18_000,
                key: picture == 0,
                data: data.clone().into(),
            };
            let wall = start + Duration::from_secs(number);
            let fragment = Fragment { wall, video: (0..5).map(sample).collect(), audio: Vec::new() };
            let offset = file.len() as u64;
            fragments.push(write_fragment(&fragment, number as u32 + 1, offset, &mut file).unwrap());
        }
        file.extend(write_tail(&FragmentTable { fragments: fragments.clone() }));
        let day = self.recordings().join("gate/2026-11-22");
        std::fs::create_dir_all(&day).unwrap();
        let path = day.join(format!("{}.mp4", start.as_millis()));
        std::fs::write(&path, file).unwrap();
        Written { start, path, fragments }
    }

    fn files(&self) -> Vec<PathBuf> {
        file::files(&file::folder(&self.recordings(), &camera()))
    }

    fn lines(&self) -> Vec<Line> {
        let text: Vec<u8> = self.files().iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
        text.split(|byte| *byte == b'\n').filter_map(|line| Line::parse(line).ok()).collect()
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.lines().iter().map(|line| line.record().what.kind()).collect()
    }

    fn verify(&self, path: &Path) -> Report {
        let ca = self.dir.path().join("ca.pem");
        std::fs::write(&ca, self.authority.pem()).unwrap();
        aivms_verify::check(&Ask { paths: vec![path.to_owned()], ca: Some(ca), ..Ask::default() }).unwrap()
    }

    fn clip(&self, chain: &Chain, segments: &[&Written], open: bool) -> PathBuf {
        let path = self.dir.path().join("clip.mp4");
        let (start, end) = (segments[0].start, segments.last().unwrap().start + Duration::from_secs(2));
        let mut planner = ClipPlanner::new(tracks(), start..end);
        for segment in segments {
            planner.segment(&tracks(), segment.start).unwrap();
            let file = std::fs::read(&segment.path).unwrap();
            for info in &segment.fragments[..2] {
                let head = FragmentHead::parse(&file[usize::try_from(info.offset).unwrap()..]).unwrap();
                planner.fragment(head, info.offset, info.hash).unwrap();
            }
        }
        let plan = planner.plan().unwrap();
        let mut out = std::fs::File::create(&path).unwrap();
        let mut read: Vec<_> = segments.iter().map(|segment| std::fs::File::open(&segment.path).unwrap()).collect();
        let copy = aivms_footage::clip::copy_range;
        plan.write(&mut out, |range, out| copy(range, &mut read[range.segment], out, &mut Vec::new())).unwrap();
        let mut samples = plan.fragments.iter().map(|fragment| (fragment.pictures, fragment.sounds));
        let part = |segment: &&Written| ClipPart {
            start: segment.start,
            path: segment.path.clone(),
            closed: !open,
            // As the index knows them, without hashes.
            fragments: segment.fragments.iter().map(|info| FragmentInfo { hash: None, ..*info }).collect(),
            from: 0,
            count: 2,
            samples: samples.by_ref().take(2).collect(),
        };
        let parts = segments.iter().map(part).collect();
        let origin = ClipOrigin { camera: camera(), start, end, event: None, treatment: Treatment::Copied, parts };
        chain.seal_clip(&path, &origin).unwrap();
        path
    }
}

impl Running {
    async fn seal(&self, segment: &Written) {
        let closed = ClosedSegment {
            start: segment.start,
            end: segment.start + Duration::from_secs(3),
            path: segment.path.clone(),
            leaves: Vec::new(),
            sealed: SealTime::Closed,
        };
        self.chain.segment_closed(&camera(), closed).await.unwrap();
    }

    async fn stop(self) {
        self.chain.close().await;
        self.thread.await.unwrap();
    }
}

fn gap(from: i64, to: i64) -> Gap {
    Gap { start: at(from), end: Some(at(to)), cause: GapCause::Network, detail: None }
}

#[tokio::test]
async fn what_an_edge_records_loses_and_deletes_is_vouched_for_by_its_key() {
    let site = Site::enrolled();
    let running = site.start();
    let segments = [0, 3, 9].map(|second| site.segment(second));
    running.seal(&segments[0]).await;
    running.seal(&segments[1]).await;
    running.chain.gap(&camera(), gap(6, 9)).await.unwrap();
    running.seal(&segments[2]).await;
    running.chain.deleted(&camera(), &[at(0)], 700, DeletionReason::FreeSpace).await.unwrap();
    std::fs::remove_file(&segments[0].path).unwrap();
    assert_eq!(site.kinds(), ["begin", "key", "segment", "segment", "gap", "segment", "deleted"]);
    assert_eq!(running.chain.heads()[0].seq, 6);
    let report = site.verify(&site.recordings());
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    let clip = site.clip(&running.chain, &[&segments[1], &segments[2]], false);
    let report = site.verify(&clip);
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    assert!(report.to_string().contains("gap 2026-11-22T13:05:06.000Z to"), "{report}");
    std::fs::remove_file(&segments[2].path).unwrap();
    assert_eq!(site.verify(&site.recordings()).verdict, Verdict::Altered);
    running.stop().await;
}

#[tokio::test]
async fn a_record_torn_by_a_crash_is_cut_off_and_the_chain_goes_on() {
    let site = Site::enrolled();
    let running = site.start();
    running.seal(&site.segment(0)).await;
    running.stop().await;
    let path = site.files().pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    // Part of a line, and blocks that were never written.
    for tail in [&whole[..40], &[0; 100], b"\0\0\0\n", b"{"] {
        std::fs::write(&path, [&whole[..], tail].concat()).unwrap();
        let running = site.start();
        running.seal(&site.segment(3)).await;
        running.stop().await;
        let report = site.verify(&site.recordings());
        assert_eq!(report.verdict, Verdict::Sound, "{tail:?} {report}");
        std::fs::write(&path, &whole).unwrap();
    }
    // All of the last line but its end: it is cut off, and its segment lacks a record.
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let running = site.start();
    running.seal(&site.segment(3)).await;
    running.stop().await;
    assert_eq!(site.kinds(), ["begin", "key", "segment"]);
    let report = site.verify(&site.recordings());
    assert!(report.to_string().contains("no record knows the segment at 2026-11-22T13:05:00.000Z"), "{report}");
}

#[tokio::test]
async fn a_renewed_key_is_approved_by_the_one_before_and_a_key_after_a_restart_stands_for_itself() {
    let site = Site::enrolled();
    let running = site.start();
    running.seal(&site.segment(0)).await;
    site.take_key();
    running.seal(&site.segment(3)).await;
    running.stop().await;
    let running = site.start();
    running.seal(&site.segment(6)).await;
    assert_eq!(site.kinds(), ["begin", "key", "segment", "key", "segment", "segment"]);
    let lines = site.lines();
    assert_eq!(lines[3].record().key, lines[2].record().key);
    running.stop().await;
    site.take_key();
    let running = site.start();
    running.seal(&site.segment(9)).await;
    running.stop().await;
    let report = site.verify(&site.recordings());
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    assert!(report.to_string().contains("is not approved by the one before it"), "{report}");
    assert_eq!(report.checked[0].signers.len(), 3);
}

#[tokio::test]
async fn before_enrolment_nothing_is_signed_and_the_first_signature_covers_it() {
    let site = Site::new();
    let running = site.start();
    running.seal(&site.segment(0)).await;
    assert_eq!(site.lines().iter().filter(|line| line.record().key.is_some()).count(), 0);
    site.take_key();
    running.seal(&site.segment(3)).await;
    assert_eq!(site.kinds(), ["begin", "segment", "key", "segment"]);
    assert_eq!(site.verify(&site.recordings()).verdict, Verdict::Sound);
    running.stop().await;
}

#[tokio::test]
async fn a_chain_that_begins_after_the_footage_says_so() {
    let begin = |site: &Site| match &site.lines()[0].record().what {
        Entry::Begin { why } => *why,
        other => panic!("{other:?}"),
    };
    let site = Site::enrolled();
    let running = site.start();
    let (first, second) = (site.segment(0), site.segment(3));
    running.seal(&first).await;
    assert_eq!(begin(&site), BeginReason::First);
    running.stop().await;
    std::fs::remove_dir_all(file::folder(&site.recordings(), &camera())).unwrap();
    let running = site.start();
    running.seal(&second).await;
    assert_eq!(begin(&site), BeginReason::NoChain);
    let report = site.verify(&site.recordings());
    assert!(report.to_string().contains("no record knows the segment at 2026-11-22T13:05:00.000Z"), "{report}");
    running.stop().await;
    std::fs::write(site.files().pop().unwrap(), [b'x'; 500]).unwrap();
    let running = site.start();
    running.seal(&second).await;
    running.stop().await;
    assert_eq!((begin(&site), site.files().len()), (BeginReason::Damaged, 2));
}

#[tokio::test]
async fn a_disk_that_refuses_is_told_and_nothing_half_written_counts() {
    let site = Site::enrolled();
    std::fs::create_dir_all(site.recordings().join("gate")).unwrap();
    // A file stands where the chain's folder belongs.
    let folder = file::folder(&site.recordings(), &camera());
    std::fs::write(&folder, "").unwrap();
    let running = site.start();
    let refused = running.chain.deleted(&camera(), &[at(0)], 1, DeletionReason::Age).await;
    assert!(matches!(refused, Err(ChainError::Disk { .. })), "{refused:?}");
    std::fs::remove_file(&folder).unwrap();
    running.chain.gap(&camera(), gap(0, 5)).await.unwrap();
    assert_eq!(site.kinds(), ["begin", "key", "gap"]);
    running.stop().await;
    assert!(matches!(
        site.start().chain.clone().segment_closed(&camera(), missing()).await,
        Err(ChainError::Disk { .. })
    ));
}

fn missing() -> ClosedSegment {
    let path = PathBuf::from("/no/such/segment.mp4");
    ClosedSegment { start: at(0), end: at(1), path, leaves: Vec::new(), sealed: SealTime::Closed }
}

#[tokio::test]
async fn a_clip_of_the_segment_being_written_rests_on_its_own_signature() {
    let site = Site::enrolled();
    let running = site.start();
    let (sealed, open) = (site.segment(0), site.segment(3));
    running.seal(&sealed).await;
    let clip = site.clip(&running.chain, &[&open], true);
    let report = site.verify(&clip);
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    assert!(report.to_string().contains("was still being written when the clip was made"), "{report}");
    running.stop().await;
}

#[tokio::test]
async fn files_are_turned_and_all_of_them_make_one_chain() {
    let site = Site::enrolled();
    let running = site.start();
    running.chain.gap(&camera(), gap(0, 1)).await.unwrap();
    let starts: Vec<_> = (0..3000).map(at).collect();
    for _ in 0..40 {
        running.chain.deleted(&camera(), &starts, 1, DeletionReason::Age).await.unwrap();
    }
    running.seal(&site.segment(5000)).await;
    assert!(site.files().len() > 1);
    running.stop().await;
    let running = site.start();
    running.seal(&site.segment(5003)).await;
    assert_eq!(site.verify(&site.recordings()).verdict, Verdict::Sound);
    assert_eq!(running.chain.sealed(&camera()), [at(5000), at(5003)].into());
    running.stop().await;
}

#[test]
fn an_identity_in_a_log_shows_no_key() {
    let site = Site::enrolled();
    let shown = format!("{:?}", site.identity.borrow());
    assert!(shown.contains("edge_1") && !shown.contains("BEGIN") && !shown.contains("PRIVATE"), "{shown}");
}
