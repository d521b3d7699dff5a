//! One stream of an edge: what it was opened with, and what a late viewer needs to see a picture at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::relay::{FrameHeader, FrameKind, FromEdge, ToEdge, View};
use aivms_contract::time::UtcMillis;

use super::viewer::{Viewer, weight};
use super::{MAX_CREDIT, MAX_INIT_BYTES, ViewerId, Wanted};

/// Most bytes kept since the last key picture. A stream with more between two of them is kept from none: late viewers
/// wait for the next.
const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Most fragments without credit since a seek. Those of a seek that was overtaken by one to the same time can't be
/// told from the later one's; an edge that sends more does not keep to the credit, and its stream is closed.
const MAX_BEYOND: u32 = 2 * MAX_CREDIT;

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is passed on.
    Wanted,
    /// It is of a time before a seek.
    Unwanted,
    /// The edge may not send it; the stream is closed.
    Refused,
}

/// Whose stream it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A camera's live video, for whoever looks.
    Live,
    /// One viewer's own.
    Playback(Playback),
}

/// How far one viewer's playback is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Playback {
    /// End of what was sent, or the time sought.
    from: UtcMillis,
    key_frames_only: bool,
    /// Fragments the edge may still send.
    credit: u32,
    /// Fragments it sent without credit since it was opened or sought.
    beyond: u32,
    /// The time whose beginning is awaited; what comes before it is of the time before a seek.
    awaited: Option<UtcMillis>,
}

impl Playback {
    /// Takes a fragment off the credit; false when the edge sends far more than it was asked for.
    fn pay(&mut self) -> bool {
        match self.credit.checked_sub(1) {
            Some(left) => self.credit = left,
            None => self.beyond += 1,
        }
        self.beyond <= MAX_BEYOND
    }
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    camera: CameraId,
    h265: bool,
    pub(super) source: Source,
    pub(super) viewers: BTreeSet<ViewerId>,
    /// When it is closed, because nobody looks.
    pub(super) close_at: Option<Duration>,
    opened: Option<FromEdge>,
    init: Option<(FrameHeader, Arc<[u8]>)>,
    /// Fragments since the last key picture, of a live stream.
    kept: Vec<(FrameHeader, Arc<[u8]>)>,
    kept_bytes: usize,
}

impl Stream {
    pub(super) fn new(wanted: &Wanted, viewer: ViewerId) -> Self {
        let source = match wanted.view {
            View::Live => Source::Live,
            View::Playback { from, key_frames_only } => {
                Source::Playback(Playback { from, key_frames_only, credit: 0, beyond: 0, awaited: Some(from) })
            }
        };
        Self {
            camera: wanted.camera.clone(),
            h265: wanted.h265,
            source,
            viewers: BTreeSet::from([viewer]),
            close_at: None,
            opened: None,
            init: None,
            kept: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// Whether one more live viewer can share it. H.264 is for everybody.
    pub(super) fn suits(&self, wanted: &Wanted) -> bool {
        self.source == Source::Live && self.camera == wanted.camera && (wanted.h265 || !self.h265)
    }

    /// What opens it on a fresh connection: where it was, with the credit it had.
    pub(super) fn reopen(&mut self, number: u32) -> Vec<ToEdge> {
        self.forget();
        let view = match &mut self.source {
            Source::Live => View::Live,
            Source::Playback(playback) => {
                (playback.awaited, playback.beyond) = (Some(playback.from), 0);
                View::Playback { from: playback.from, key_frames_only: playback.key_frames_only }
            }
        };
        let open = ToEdge::Open { stream: number, camera_id: self.camera.clone(), view, h265: self.h265 };
        let credit = match &self.source {
            Source::Playback(playback) if playback.credit > 0 => {
                Some(ToEdge::Credit { stream: number, fragments: playback.credit })
            }
            _ => None,
        };
        std::iter::once(open).chain(credit).collect()
    }

    /// Gives a new viewer what it takes to show a picture at once.
    pub(super) fn welcome(&self, viewer: &mut Viewer, now: Duration) {
        let Some(opened) = &self.opened else { return };
        viewer.give(opened.clone());
        for (header, frame) in self.init.iter().chain(&self.kept) {
            viewer.give_frame(header, frame, now);
        }
    }

    /// The edge says how it begins; false when that is of a time before a seek.
    pub(super) fn opened(&mut self, message: FromEdge, answers: Option<UtcMillis>) -> bool {
        if let Source::Playback(playback) = &mut self.source
            && playback.awaited.is_some()
        {
            if playback.awaited != answers {
                return false;
            }
            playback.awaited = None;
        }
        self.forget();
        self.opened = Some(message);
        true
    }

    /// Takes note of a frame.
    pub(super) fn keep(&mut self, header: &FrameHeader, frame: &Arc<[u8]>) -> Fate {
        if header.kind == FrameKind::Init && frame.len() > MAX_INIT_BYTES {
            return Fate::Refused;
        }
        match (&mut self.source, header.kind) {
            (Source::Playback(playback), _) if playback.awaited.is_some() => return Fate::Unwanted,
            (Source::Playback(playback), FrameKind::Fragment) => {
                if !playback.pay() {
                    return Fate::Refused;
                }
                playback.from = header.wall + Duration::from_millis(header.duration_ms.into());
            }
            (Source::Playback(_), _) => {}
            (Source::Live, FrameKind::Init) => {
                self.init = Some((*header, Arc::clone(frame)));
                self.empty();
            }
            (Source::Live, _) => self.keep_fragment(header, frame),
        }
        Fate::Wanted
    }

    fn keep_fragment(&mut self, header: &FrameHeader, frame: &Arc<[u8]>) {
        if header.key {
            self.empty();
        } else if self.kept.is_empty() {
            return;
        }
        self.kept_bytes += weight(frame);
        if self.kept_bytes > MAX_KEPT_BYTES {
            self.empty();
        } else {
            self.kept.push((*header, Arc::clone(frame)));
        }
    }

    /// Goes elsewhere; false for a stream that can't.
    pub(super) fn seek(&mut self, from: UtcMillis, key_frames_only: bool) -> bool {
        let Source::Playback(playback) = &mut self.source else { return false };
        *playback = Playback { from, key_frames_only, credit: 0, beyond: 0, awaited: Some(from) };
        true
    }

    /// How many fragments more the edge may be asked for, of so many that are wanted.
    pub(super) fn grant(&mut self, fragments: u32) -> u32 {
        let Source::Playback(playback) = &mut self.source else { return 0 };
        let granted = fragments.min(MAX_CREDIT.saturating_sub(playback.credit));
        playback.credit += granted;
        granted
    }

    fn forget(&mut self) {
        (self.opened, self.init) = (None, None);
        self.empty();
    }

    fn empty(&mut self) {
        self.kept.clear();
        self.kept_bytes = 0;
    }
}
