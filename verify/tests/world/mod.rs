//! An edge's recordings with their chain, and a clip of them, made as the appliance makes them from real video.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aivms_contract::footage::{DeletionReason, Gap, GapCause};
use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{
    BeginReason, Chained, Deletion, Digest, Entry, Excerpt, FileState, KeyChange, Leaf, Line, Manifest, PartSource,
    PublicKey, Record, SealTime, SegmentSeal, SignError, Signer, Treatment, digest_outside, digest_payloads,
    encode_leaves, examine_segment, root_of,
};
use aivms_footage::clip::copy_range;
use aivms_footage::{ClipPlanner, FragmentHead};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SanType,
};
use tempfile::TempDir;

use crate::support::START;
use crate::support::encoder::{Segment, WITH_SOUND, encode, record};

/// An authority like the cloud's.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A device with its certificate.
pub(crate) struct Device {
    key: EcdsaKeyPair,
    pub(crate) change: KeyChange,
}

/// Recordings of the camera `door`.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) device: Device,
    pub(crate) segments: Vec<Segment>,
    pub(crate) lines: Vec<Line>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", fastrand()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, self.0.pem()).unwrap();
    }

    /// A device of tenant `acme` with a certificate for all times that are tested.
    pub(crate) fn device(&self, edge: &str) -> Device {
        let key = KeyPair::generate().unwrap();
        let identity = Identity { tenant: "acme".parse().unwrap(), role: Role::Edge(edge.parse().unwrap()) };
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().unwrap())];
        let start = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(START.cast_unsigned());
        params.not_before = start - Duration::from_secs(86_400);
        params.not_after = start + Duration::from_secs(90 * 86_400);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let change = KeyChange {
            public_key: PublicKey::from_der(key.subject_public_key_info()),
            certificates: vec![STANDARD.encode(certificate.der()), STANDARD.encode(self.0.der())],
        };
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
        Device { key, change }
    }
}

impl Signer for Device {
    fn public_key(&self) -> &PublicKey {
        &self.change.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
    }
}

impl World {
    /// Four seconds of H.264 with B-pictures and sound in segments of a second, and their chain.
    pub(crate) fn new(authority: &Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = encode(WITH_SOUND, dir.path());
        let mut segments = record(&source, 45_000, dir.path());
        for segment in &mut segments {
            let day = dir.path().join("recordings/door/2026-11-22");
            fs::create_dir_all(&day).unwrap();
            let path = day.join(format!("{}.mp4", segment.start.as_millis()));
            fs::rename(&segment.path, &path).unwrap();
            segment.path = path;
        }
        let device = authority.device("edge_1");
        let mut world = Self { dir, device, segments, lines: Vec::new() };
        world.add(Entry::Begin { why: BeginReason::First }, false);
        world.add(Entry::Key(world.device.change.clone()), true);
        for at in 0..world.segments.len() {
            world.seal(at);
        }
        world.write();
        world
    }

    pub(crate) fn recordings(&self) -> PathBuf {
        self.dir.path().join("recordings")
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.recordings().join("door/chain/00000001.chain")
    }

    pub(crate) fn head(&self) -> Option<Chained> {
        self.lines.last().map(Line::place)
    }

    pub(crate) fn add(&mut self, what: Entry, signed: bool) {
        let at = UtcMillis::from_millis(START + 5000 + self.lines.len() as i64 * 1000);
        let edge = Some("edge_1".parse().unwrap());
        let record = Record::after(self.head(), "door".parse().unwrap(), edge, at, what);
        self.lines.push(Line::seal(record, signed.then_some(&self.device as &dyn Signer)).unwrap());
    }

    fn seal(&mut self, at: usize) {
        let segment = &self.segments[at];
        let last = segment.fragments.last().unwrap();
        let state = examine_segment(File::open(&segment.path).unwrap()).unwrap();
        let FileState::Read { bytes, leaves, claimed, tracks, outside } = state else { panic!("{state:?}") };
        assert_eq!(leaves, claimed);
        assert_eq!(leaves, segment.fragments.iter().filter_map(Leaf::of).collect::<Vec<_>>());
        let fragments = leaves.len() as u32;
        let (start, end, root) = (segment.start, last.wall_end(), root_of(&leaves));
        let sealed = SealTime::Closed;
        self.add(Entry::Segment(SegmentSeal { start, end, bytes, fragments, root, tracks, outside, sealed }), true);
    }

    /// Deletes a segment as retention does.
    pub(crate) fn delete(&mut self, at: usize) {
        let start = self.segments[at].start.as_millis();
        self.add(Entry::Deleted(Deletion { starts: vec![start], bytes: 1, reason: DeletionReason::Age }), true);
        self.write();
        fs::remove_file(&self.segments[at].path).unwrap();
    }

    pub(crate) fn gap(&mut self, start: UtcMillis, end: UtcMillis) -> String {
        self.add(Entry::Gap(Gap { start, end: Some(end), cause: GapCause::Network, detail: None }), true);
        self.lines.last().unwrap().as_str().to_owned()
    }

    pub(crate) fn write(&self) {
        let text: String = self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        fs::create_dir_all(self.chain().parent().unwrap()).unwrap();
        fs::write(self.chain(), text).unwrap();
    }

    /// A clip from the 11th picture on, across all segments.
    pub(crate) fn clip(&self, treatment: Treatment, gaps: Vec<String>, signed: bool) -> PathBuf {
        let path = self.dir.path().join("clip.mp4");
        let wanted = UtcMillis::from_millis(START + 400)..UtcMillis::from_millis(START + 3600);
        let mut planner = ClipPlanner::new(self.segments[0].tracks.clone(), wanted.clone());
        let mut used = Vec::new();
        for segment in &self.segments {
            planner.segment(&segment.tracks, segment.start).unwrap();
            let file = fs::read(&segment.path).unwrap();
            let wanted: Vec<_> = segment.fragments.iter().filter(|info| info.wall < wanted.end).collect();
            for info in &wanted {
                let head = FragmentHead::parse(&file[info.offset as usize..]).unwrap();
                planner.fragment(head, info.offset, info.hash).unwrap();
            }
            used.push(wanted.len());
        }
        let plan = planner.plan().unwrap();
        let mut clip = File::create(&path).unwrap();
        let mut open: Vec<_> = self.segments.iter().map(|segment| File::open(&segment.path).unwrap()).collect();
        plan.write(&mut clip, |range, out| copy_range(range, &mut open[range.segment], out, &mut Vec::new())).unwrap();
        let bytes = path.metadata().unwrap().len();
        let outside = digest_outside(&mut File::open(&path).unwrap(), bytes).unwrap();
        let payloads = digest_payloads(&mut File::open(&path).unwrap(), bytes).unwrap();
        let mut samples = plan.fragments.iter().map(|fragment| (fragment.pictures, fragment.sounds));
        let part = |(segment, count): (&Segment, &usize)| {
            let leaves: Vec<_> = segment.fragments.iter().filter_map(Leaf::of).collect();
            let samples = samples.by_ref().take(*count).collect();
            let source = PartSource::Sealed(self.line_of(segment.start));
            Excerpt {
                start: segment.start,
                source,
                leaves: encode_leaves(&leaves),
                from: 0,
                count: *count as u32,
                samples,
            }
        };
        let manifest = Manifest {
            camera: "door".parse().unwrap(),
            edge: Some("edge_1".parse().unwrap()),
            start: wanted.start,
            end: wanted.end,
            event: Some("01KAK9XJ9V1DXYZ4Z3JXQ2M5TB".parse().unwrap()),
            made_at: UtcMillis::from_millis(START + 60_000),
            treatment,
            bytes,
            outside,
            payloads: (treatment == Treatment::Masked).then_some(payloads),
            parts: self.segments.iter().zip(&used).map(part).collect(),
            gaps,
            keys: vec![self.device.change.clone()],
            head: self.head(),
            key: None,
        };
        let sealed = manifest.seal(signed.then_some(&self.device as &dyn Signer)).unwrap();
        std::io::Write::write_all(&mut clip, &sealed).unwrap();
        path
    }

    fn line_of(&self, start: UtcMillis) -> String {
        let of = |line: &&Line| matches!(&line.record().what, Entry::Segment(seal) if seal.start == start);
        self.lines.iter().find(of).unwrap().as_str().to_owned()
    }
}

/// Something that differs between authorities.
fn fastrand() -> Digest {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    Digest::of(&bytes)
}
