//! What waits for one viewer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::relay::{EndReason, FrameHeader, FrameKind, FromEdge};

use super::ForViewer;

/// Most bytes of live video that wait for one viewer, more than what a late one begins with. With more, what waits is
/// dropped and the viewer goes on at the next key picture.
const MAX_LIVE_BYTES: usize = 12 * 1024 * 1024;
/// How long live video may wait for a viewer; older, it is dropped likewise.
const MAX_LIVE_WAIT: Duration = Duration::from_secs(3);
/// Most bytes of playback that wait; it sends by credit, so only a viewer that grants and does not take has more. It
/// is sent away.
const MAX_PLAYBACK_BYTES: usize = 64 * 1024 * 1024;
/// Most bytes of live video and init frames that wait for one viewer. Init frames are never dropped, so an edge that
/// begins anew without end reaches this; the viewer is sent away.
const MAX_LIVE_WITH_INIT_BYTES: usize = 2 * MAX_LIVE_BYTES;
/// Most text frames that wait; a viewer that takes none is on its way out, and further ones are dropped. The longest
/// has little more than [`super::MAX_MIME_BYTES`].
const MAX_TEXTS: usize = 64;
/// How long a viewer may be behind without catching up once.
const PATIENCE: Duration = Duration::from_secs(20);

/// One viewer.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) stream: u32,
    pub(super) is_live: bool,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    texts: usize,
    /// Whether only a key picture is of use to it.
    needs_key: bool,
    /// Fragments left out since it was last told.
    dropped: u32,
    /// Since when it has not caught up.
    behind_since: Option<Duration>,
    is_over: bool,
}

/// A frame that waits.
#[derive(Debug)]
struct Waiting {
    message: ForViewer,
    /// Since when, for what may be left out.
    droppable_since: Option<Duration>,
}

impl Viewer {
    pub(super) fn new(stream: u32, is_live: bool) -> Self {
        Self {
            stream,
            is_live,
            waiting: VecDeque::new(),
            bytes: 0,
            texts: 0,
            needs_key: is_live,
            dropped: 0,
            behind_since: None,
            is_over: false,
        }
    }

    /// Queues a text frame.
    pub(super) fn give(&mut self, message: FromEdge) {
        if matches!(message, FromEdge::Ended { .. }) {
            self.end_with(message);
        } else if self.texts < MAX_TEXTS {
            self.push(ForViewer::Text(message), None);
        }
    }

    /// Queues a binary frame; false when the viewer can't be helped any more.
    pub(super) fn give_frame(&mut self, header: &FrameHeader, frame: &Arc<[u8]>, now: Duration) -> bool {
        let message = ForViewer::Frame(Arc::clone(frame));
        if header.kind == FrameKind::Init {
            self.needs_key = self.is_live;
            self.push(message, None);
            return self.bytes <= if self.is_live { MAX_LIVE_WITH_INIT_BYTES } else { MAX_PLAYBACK_BYTES };
        }
        if !self.is_live {
            self.push(message, Some(now));
            return self.bytes <= MAX_PLAYBACK_BYTES;
        }
        if self.has_too_much(weight(frame), now) {
            self.drop_media(now);
        }
        if self.needs_key && !header.key {
            self.dropped += u32::from(self.behind_since.is_some());
            return true;
        }
        self.needs_key = false;
        if self.dropped > 0 {
            let fragments = std::mem::take(&mut self.dropped);
            self.give(FromEdge::Dropped { stream: self.stream, fragments });
        }
        self.push(message, Some(now));
        true
    }

    /// Drops what waits of the media, for a seek.
    pub(super) fn forget_media(&mut self) {
        self.waiting.retain(|waiting| matches!(waiting.message, ForViewer::Text(_)));
        self.bytes = 0;
    }

    pub(super) fn end(&mut self, reason: EndReason, detail: &str) {
        self.end_with(FromEdge::Ended { stream: self.stream, reason, detail: detail.to_owned() });
    }

    pub(super) fn take(&mut self) -> Option<ForViewer> {
        let Some(Waiting { message, .. }) = self.waiting.pop_front() else {
            if !self.needs_key {
                self.behind_since = None;
            }
            return None;
        };
        match &message {
            ForViewer::Frame(frame) => self.bytes = self.bytes.saturating_sub(weight(frame)),
            ForViewer::Text(_) => self.texts = self.texts.saturating_sub(1),
        }
        Some(message)
    }

    /// When it has been behind for too long.
    pub(super) fn slow_at(&self) -> Option<Duration> {
        self.behind_since.filter(|_| !self.is_over).map(|since| since + PATIENCE)
    }

    pub(super) fn is_too_slow(&self, now: Duration) -> bool {
        self.slow_at().is_some_and(|at| at <= now)
    }

    /// Bytes that wait, without those of texts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn end_with(&mut self, message: FromEdge) {
        if !self.is_over {
            self.waiting.clear();
            (self.bytes, self.texts) = (0, 0);
            self.push(ForViewer::Text(message), None);
            self.is_over = true;
        }
    }

    fn has_too_much(&self, more: usize, now: Duration) -> bool {
        let oldest = self.waiting.iter().find_map(|waiting| waiting.droppable_since);
        self.bytes + more > MAX_LIVE_BYTES || oldest.is_some_and(|since| since + MAX_LIVE_WAIT <= now)
    }

    fn drop_media(&mut self, now: Duration) {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.droppable_since.is_none());
        self.dropped += u32::try_from(before - self.waiting.len()).unwrap_or(u32::MAX);
        self.bytes = self.waiting.iter().map(Waiting::bytes).sum();
        self.needs_key = true;
        self.behind_since.get_or_insert(now);
    }

    fn push(&mut self, message: ForViewer, droppable_since: Option<Duration>) {
        if self.is_over {
            return;
        }
        match &message {
            ForViewer::Frame(frame) => self.bytes += weight(frame),
            ForViewer::Text(_) => self.texts += 1,
        }
        self.waiting.push_back(Waiting { message, droppable_since });
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        match &self.message {
            ForViewer::Frame(frame) => weight(frame),
            ForViewer::Text(_) => 0,
        }
    }
}

/// Bytes of memory a frame takes while it waits, roughly: frames without content are not for nothing.
pub(super) fn weight(frame: &Arc<[u8]>) -> usize {
    const BESIDES: usize = 256;
    frame.len() + BESIDES
}
