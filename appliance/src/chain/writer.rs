//! The one thread that writes chains: what has gathered is sealed, appended and synced at once, camera by camera.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{
    BeginReason, Chained, Digest, Entry, KeyChange, Line, Record, SegmentSeal, Signer, digest_outside, root_of,
    tracks_digest,
};
use aivms_footage::front;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::mpsc;

use super::clip::leaves_of;
use super::file::{ChainFile, folder};
use super::{ChainError, ClosedSegment, Entering, Order, Shared, What};
use crate::clock;
use crate::identity::Identity;

/// Most orders of one group: each costs a signature, and all of a camera together one sync.
const GROUP: usize = 64;

/// The work of the thread.
#[derive(Debug)]
pub struct ChainWriter {
    orders: mpsc::Receiver<Order>,
    shared: Arc<Shared>,
    chains: BTreeMap<CameraId, ChainFile>,
    /// The identity before the one in use, whose key approves the new one.
    before: Option<Arc<Identity>>,
    current: Option<Arc<Identity>>,
}

impl ChainWriter {
    pub(super) fn new(orders: mpsc::Receiver<Order>, shared: Arc<Shared>) -> Self {
        Self { orders, shared, chains: BTreeMap::new(), before: None, current: None }
    }

    /// Works until [`Chain::close`](super::Chain::close), or until every handle is gone. Blocks: give it a thread of
    /// its own.
    pub fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while self.orders.blocking_recv_many(&mut group, GROUP) > 0 {
            self.meet_identity();
            let mut by_camera: BTreeMap<CameraId, Vec<Entering>> = BTreeMap::new();
            let mut closing = None;
            for order in group.drain(..) {
                match order {
                    Order::Enter(order) => by_camera.entry(order.camera.clone()).or_default().push(order),
                    Order::Close(done) => closing = Some(done),
                }
            }
            for (camera, orders) in by_camera {
                self.carry_out(&camera, orders);
            }
            if let Some(done) = closing {
                drop(self);
                let _ = done.send(());
                return;
            }
        }
    }

    fn meet_identity(&mut self) {
        let now = self.shared.identity.borrow().clone();
        let id = |identity: &Option<Arc<Identity>>| identity.as_ref().map(|identity| identity.public_key().id());
        if id(&now) != id(&self.current) {
            self.before = self.current.take().or(self.before.take());
            self.current = now;
        }
    }

    fn carry_out(&mut self, camera: &CameraId, orders: Vec<Entering>) {
        let mut entries = Vec::new();
        let mut waiting = Vec::new();
        for Entering { what, done, .. } in orders {
            let sealed: Result<Vec<_>, _> = what.into_iter().map(entry).collect();
            match sealed {
                Ok(sealed) => {
                    entries.extend(sealed);
                    waiting.push(done);
                }
                Err(error) => drop(done.send(Err(error))),
            }
        }
        if entries.is_empty() {
            return;
        }
        let mut written = self.write(camera, entries);
        for done in waiting {
            // Each gets the error once; `io::Error` can't be copied whole.
            let answer = match &mut written {
                Ok(()) => Ok(()),
                Err(error) => Err(error.again()),
            };
            let _ = done.send(answer);
        }
    }

    fn write(&mut self, camera: &CameraId, entries: Vec<Entry>) -> Result<(), ChainError> {
        if self.chains.get(camera).is_none_or(ChainFile::must_reopen) {
            let chain = self.open(camera)?;
            self.chains.insert(camera.clone(), chain);
        }
        let dir = folder(&self.shared.settings.recordings, camera);
        let Some(chain) = self.chains.get(camera) else { return Err(ChainError::Ending) };
        let mut sealing = Sealing {
            camera,
            shared: &self.shared,
            now: clock::now(),
            last: chain.head,
            lines: Vec::with_capacity(entries.len() + 2),
        };
        if let Some(why) = chain.begin {
            let why = self.reason(why, camera, &entries);
            sealing.last = None;
            // Nothing can be signed before the key was introduced.
            sealing.add(Entry::Begin { why }, None)?;
        }
        if let Some(current) = &self.current
            && (chain.begin.is_some() || chain.key != Some(current.public_key().id()))
        {
            let handing_over = self.before.as_ref().filter(|before| chain.key == Some(before.public_key().id()));
            sealing.add(introduction(current)?, Some(handing_over.unwrap_or(current)))?;
        }
        for entry in entries {
            sealing.add(entry, self.current.as_ref())?;
        }
        let lines = sealing.lines;
        let chain = self.chains.get_mut(camera).ok_or(ChainError::Ending)?;
        chain.append(&lines).map_err(|source| ChainError::Disk { path: dir, source })?;
        if let Some(last) = lines.last() {
            self.shared.heads().insert(camera.clone(), last.place());
        }
        Ok(())
    }

    fn open(&self, camera: &CameraId) -> Result<ChainFile, ChainError> {
        let dir = folder(&self.shared.settings.recordings, camera);
        let opened = ChainFile::open(dir.clone()).map_err(|source| ChainError::Disk { path: dir.clone(), source })?;
        let (chain, cut_off) = opened;
        if let Some(cut_off) = cut_off {
            let path = cut_off.path.display();
            tracing::warn!(camera.id = %camera, "{path}: {} bytes of an unfinished record were cut off", cut_off.bytes);
        }
        if chain.begin == Some(BeginReason::Damaged) {
            let dir = dir.display();
            tracing::error!(camera.id = %camera, "{dir}: the chain can't be read and begins anew; its files are kept");
        }
        Ok(chain)
    }

    /// Why a chain begins: a camera that has no older footage than what is entered now is simply new.
    fn reason(&self, why: BeginReason, camera: &CameraId, entries: &[Entry]) -> BeginReason {
        if why != BeginReason::NoChain {
            return why;
        }
        let first = entries.iter().find_map(|entry| match entry {
            Entry::Segment(seal) => Some(seal.start),
            _ => None,
        });
        let settings = &self.shared.settings;
        let folders = [Some(&settings.recordings), settings.slow.as_ref()];
        let oldest = folders.into_iter().flatten().filter_map(|dir| oldest_segment(&dir.join(camera.as_str()))).min();
        match oldest {
            Some(oldest) if first.is_none_or(|first| oldest < first) => BeginReason::NoChain,
            _ => BeginReason::First,
        }
    }
}

/// Lines in the making.
struct Sealing<'a> {
    camera: &'a CameraId,
    shared: &'a Shared,
    now: UtcMillis,
    last: Option<Chained>,
    lines: Vec<Line>,
}

impl Sealing<'_> {
    fn add(&mut self, what: Entry, signer: Option<&Arc<Identity>>) -> Result<(), ChainError> {
        let edge = Some(self.shared.settings.edge.clone());
        let record = Record::after(self.last, self.camera.clone(), edge, self.now, what);
        let line = Line::seal(record, signer.map(|identity| identity.as_ref() as &dyn Signer))?;
        self.last = Some(line.place());
        self.lines.push(line);
        Ok(())
    }
}

impl ChainError {
    /// The same error for another caller.
    fn again(&self) -> Self {
        match self {
            Self::Disk { path, source } => {
                let source = match source.raw_os_error() {
                    Some(code) => std::io::Error::from_raw_os_error(code),
                    None => std::io::Error::new(source.kind(), source.to_string()),
                };
                Self::Disk { path: path.clone(), source }
            }
            Self::Segment { path, problem } => Self::Segment { path: path.clone(), problem: problem.clone() },
            Self::Sign(error) => Self::Sign(error.clone()),
            Self::Ending => Self::Ending,
        }
    }
}

/// Who the key is that signs from now on.
pub(super) fn introduction(identity: &Identity) -> Result<Entry, ChainError> {
    Ok(Entry::Key(key_change(identity)?))
}

/// The key of `identity` and who vouches for it.
pub(super) fn key_change(identity: &Identity) -> Result<KeyChange, ChainError> {
    let certificates = identity.certificates().map_err(|error| aivms_footage::chain::SignError(error.to_string()))?;
    let certificates = certificates.iter().map(|certificate| STANDARD.encode(certificate)).collect();
    Ok(KeyChange { public_key: identity.public_key().clone(), certificates })
}

fn entry(what: What) -> Result<Entry, ChainError> {
    match what {
        What::Entry(entry) => Ok(entry),
        What::Segment(segment) => seal(&segment).map(Entry::Segment),
    }
}

/// Seals a closed segment: its fragments' hashes are known, the rest of its file is read.
fn seal(segment: &ClosedSegment) -> Result<SegmentSeal, ChainError> {
    let disk = |source| ChainError::Disk { path: segment.path.clone(), source };
    let leaves = if segment.leaves.is_empty() { &leaves_of(&segment.path, true)? } else { &segment.leaves };
    let mut file = File::open(&segment.path).map_err(disk)?;
    let bytes = file.metadata().map_err(disk)?.len();
    let outside = digest_outside(&mut file, bytes).map_err(disk)?;
    Ok(SegmentSeal {
        start: segment.start,
        end: segment.end,
        bytes,
        fragments: u32::try_from(leaves.len()).unwrap_or(u32::MAX),
        root: root_of(leaves),
        tracks: tracks(&segment.path)?,
        outside,
        sealed: segment.sealed,
    })
}

/// The digest of a segment's decoder parameters.
fn tracks(path: &Path) -> Result<Digest, ChainError> {
    let disk = |source| ChainError::Disk { path: path.to_owned(), source };
    let mut start = Vec::new();
    for most in [64 << 10, 1 << 20] {
        start.clear();
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut start)).map_err(disk)?;
        if let Some((tracks, _, _)) = front(&start) {
            return Ok(tracks_digest(&tracks));
        }
    }
    Err(ChainError::Segment { path: path.to_owned(), problem: "it does not begin as a segment does".to_owned() })
}

fn oldest_segment(camera: &Path) -> Option<UtcMillis> {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries(camera).flat_map(|day| entries(&day).collect::<Vec<_>>());
    let starts = files.filter(|path| path.extension().is_some_and(|extension| extension == "mp4"));
    starts.filter_map(|path| path.file_stem()?.to_str()?.parse().ok().map(UtcMillis::from_millis)).min()
}
