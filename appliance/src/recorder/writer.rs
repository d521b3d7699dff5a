//! The one thread that writes footage: files, fragments, syncs, and what to do when the disk takes nothing.
//!
//! A fragment that fails costs its segment: the file is cut back to the last complete fragment, closed as it stands, and
//! the camera begins a new one at its next key picture. While the disk fails it is tried again with growing pauses.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use aivms_contract::footage::GapCause;
use aivms_contract::health::Notice;
use aivms_contract::id::{CameraId, EdgeId};
use aivms_contract::time::UtcMillis;
use aivms_footage::fragment::FragmentInfo;
use aivms_footage::track::Tracks;

use super::catalogue::{Entry, Open};
use super::event::RecorderEvent;
use super::footage::Shared;
use super::growing::Growing;
use super::losses::Losses;
use super::segment::{DiskTier, Tags};
use super::ticket::{Queued, Ticket};
use crate::state::durable;

/// Time that a sync may take, so that it is done when it has to be.
const SYNC_LEAD: Duration = Duration::from_millis(100);
/// First pause before a disk that failed is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause before a disk that failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Least time between two complaints about a disk that comes and goes.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// What cameras' tasks ask of the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// Begin a segment; `after` says whose fault it is that the one before it ended early.
    Begin { ticket: Arc<Ticket>, tracks: Arc<Tracks>, wall: UtcMillis, after: Option<GapCause> },
    /// Add a fragment to a segment.
    Write { ticket: Arc<Ticket>, piece: Piece },
    /// The segment is complete.
    End { ticket: Arc<Ticket> },
    /// Write everything down and end.
    Close(SyncSender<()>),
}

/// A fragment on its way to the disk.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// Where it lies, counted from its own beginning.
    pub(super) info: FragmentInfo,
    /// When its first picture came.
    pub(super) since: Instant,
}

/// How the thread works.
#[derive(Debug, Clone)]
pub(super) struct WriterSettings {
    pub(super) edge: Option<EdgeId>,
    /// Most video that a power cut costs.
    pub(super) sync: Duration,
}

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Writer {
    settings: WriterSettings,
    shared: Arc<Shared>,
    queued: Arc<Queued>,
    files: BTreeMap<CameraId, Growing>,
    losses: Losses,
    trouble: Option<Trouble>,
    complained_at: Option<Instant>,
}

/// The disk takes nothing.
#[derive(Debug)]
struct Trouble {
    retry_at: Instant,
    pause: Duration,
}

impl Writer {
    pub(super) fn new(settings: WriterSettings, shared: Arc<Shared>, queued: Arc<Queued>) -> Self {
        let (files, losses) = (BTreeMap::new(), Losses::default());
        Self { settings, shared, queued, files, losses, trouble: None, complained_at: None }
    }

    /// Works until told to close, or until nobody is left who could give orders.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let order = match self.files.values().filter_map(Growing::sync_at).min() {
                Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Close(answer)) => {
                    self.end_all();
                    let _ = answer.send(());
                    return;
                }
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.end_all(),
            }
            // What came while the disk was busy first, so that one sync serves all of it.
            for order in orders.try_iter() {
                if let Order::Close(answer) = order {
                    self.end_all();
                    let _ = answer.send(());
                    return;
                }
                self.take(order);
            }
            self.sync_due();
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Begin { ticket, tracks, wall, after } => self.begin(&ticket, &tracks, wall, after),
            Order::Write { ticket, piece } => {
                self.write(&ticket, &piece);
                self.queued.take(piece.bytes.len() as u64);
            }
            Order::End { ticket } => {
                if self.is_current(&ticket) {
                    self.end(&ticket.camera);
                }
            }
            Order::Close(_) => {}
        }
    }

    fn begin(&mut self, ticket: &Arc<Ticket>, tracks: &Tracks, wall: UtcMillis, after: Option<GapCause>) {
        let camera = &ticket.camera;
        self.end(camera);
        if let Some(cause) = after {
            self.losses.begin(camera, wall, cause);
        }
        if self.trouble.as_ref().is_some_and(|trouble| Instant::now() < trouble.retry_at) {
            return ticket.fail();
        }
        let shared = Arc::clone(&self.shared);
        let about = (self.settings.edge.clone(), tracks);
        let _making = shared.making.lock().unwrap_or_else(PoisonError::into_inner);
        match Growing::create(&shared.folders, &shared.catalogue, Arc::clone(ticket), about, wall) {
            Ok(growing) => {
                shared.catalogue.begin(camera, Open::begun(&growing));
                shared.tell(RecorderEvent::SegmentOpened { key: growing.key.clone() });
                self.files.insert(camera.clone(), growing);
            }
            Err(error) => {
                ticket.fail();
                self.fail(&error);
            }
        }
    }

    fn write(&mut self, ticket: &Arc<Ticket>, piece: &Piece) {
        let camera = &ticket.camera;
        if !self.is_current(ticket) {
            ticket.fail();
            return self.lose(camera, piece.info.wall, piece.info.wall_end());
        }
        let Some(growing) = self.files.get_mut(camera) else { return };
        let (start, end) = growing.span(&piece.info);
        match growing.write(&piece.bytes, piece.info) {
            Ok(info) => {
                self.shared.figures.wrote(piece.bytes.len() as u64);
                growing.sync_by((piece.since + self.settings.sync).checked_sub(SYNC_LEAD).unwrap_or(piece.since));
                self.shared.catalogue.extend(camera, info, end, growing.bytes());
                if let Some(lost) = self.losses.written(camera, start, end) {
                    self.shared.tell(lost);
                }
                self.shared.tell(RecorderEvent::FragmentWritten { camera: camera.clone(), start, end });
                self.recovered();
            }
            Err(error) => {
                ticket.fail();
                self.fail(&error);
                self.end(camera);
                self.lose(camera, start, end);
            }
        }
    }

    fn lose(&mut self, camera: &CameraId, start: UtcMillis, end: UtcMillis) {
        self.losses.begin(camera, start, GapCause::Disk);
        if let Some(lost) = self.losses.lasts(camera, end) {
            self.shared.tell(lost);
        }
    }

    fn is_current(&self, ticket: &Arc<Ticket>) -> bool {
        self.files.get(&ticket.camera).is_some_and(|growing| Arc::ptr_eq(&growing.ticket, ticket))
    }

    /// Closes the segment of a camera, if one is open.
    fn end(&mut self, camera: &CameraId) {
        let Some(mut growing) = self.files.remove(camera) else { return };
        if growing.table.fragments.is_empty() {
            self.shared.catalogue.abandon(camera);
            let _ = durable::delete(&growing.path);
            return;
        }
        let written = growing.end;
        match growing.finish() {
            Ok(()) if growing.is_doubtful() => {}
            Ok(()) => self.shared.catalogue.note_synced(camera, growing.end),
            Err(error) => self.fail(&error),
        }
        if growing.end < written {
            self.lose(camera, growing.end, written);
        }
        if growing.table.fragments.is_empty() {
            return self.shared.catalogue.abandon(camera);
        }
        let tags = self.shared.catalogue.open_tags(camera);
        let entry = Entry { end: growing.end, bytes: growing.bytes(), tier: DiskTier::Fast, tags };
        self.shared.catalogue.put(&growing.key, entry);
        self.shared.index.put(&growing.key, entry, &growing.table);
        let segment = entry.segment(&growing.key, growing.path, Arc::from(growing.table.fragments));
        self.shared.tell(RecorderEvent::SegmentClosed { segment });
    }

    fn end_all(&mut self) {
        let cameras: Vec<_> = self.files.keys().cloned().collect();
        cameras.iter().for_each(|camera| self.end(camera));
    }

    fn sync_due(&mut self) {
        let now = Instant::now();
        let due = |growing: &Growing| growing.sync_at().is_some_and(|at| at <= now);
        let cameras: Vec<_> = self.files.iter().filter(|(_, growing)| due(growing)).map(|(id, _)| id.clone()).collect();
        for camera in cameras {
            let Some(growing) = self.files.get_mut(&camera) else { continue };
            match growing.sync() {
                Ok(took) => {
                    self.shared.catalogue.note_synced(&camera, growing.end);
                    self.shared.figures.synced(took);
                }
                Err(error) => {
                    // What was written since the last sync may or may not be there; a new file begins clean.
                    growing.ticket.fail();
                    self.fail(&error);
                    self.end(&camera);
                }
            }
        }
    }

    /// Notes that the disk failed, and says so once.
    fn fail(&mut self, error: &io::Error) {
        let now = Instant::now();
        let pause = self.trouble.as_ref().map_or(FIRST_PAUSE, |trouble| (trouble.pause * 2).min(LONGEST_PAUSE));
        let begins = self.trouble.replace(Trouble { retry_at: now + pause, pause }).is_none();
        let cause = format!("{}: {error}", self.shared.folders.fast.display());
        self.shared.trouble.send_replace(Some(cause.clone()));
        if !begins {
            return;
        }
        self.shared.tell(RecorderEvent::DiskFailed { tier: DiskTier::Fast, cause: cause.clone() });
        if self.complained_at.is_none_or(|at| now.duration_since(at) >= COMPLAINT_PAUSE) {
            self.complained_at = Some(now);
            let message = format!("video can't be recorded: {cause}; it is tried again by itself");
            self.shared.note(Notice { code: "recording_failed".to_owned(), message, camera_id: None });
        }
    }

    /// Notes that the disk has taken a fragment.
    fn recovered(&mut self) {
        if self.trouble.is_none() {
            // A disk that was only slow.
            self.shared.trouble.send_if_modified(|told| told.take().is_some());
        }
        if self.trouble.take_if(|trouble| trouble.retry_at <= Instant::now()).is_some() {
            self.shared.trouble.send_replace(None);
            tracing::info!("video is recorded again");
            self.shared.tell(RecorderEvent::DiskBack { tier: DiskTier::Fast });
        }
    }
}

impl Open {
    fn begun(growing: &Growing) -> Self {
        Self {
            start: growing.key.start,
            end: growing.end,
            path: growing.path.clone(),
            bytes: growing.bytes(),
            tags: Tags::NONE,
            fragments: Vec::new(),
        }
    }
}
