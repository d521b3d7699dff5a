//! The hub of one edge's relay: who looks at what, what is asked of the edge for it, and what each viewer gets.
//!
//! A camera's live video comes up once however many watch. What a viewer does not take in time is left out up to the
//! next key picture, and never holds up another viewer. When the last one has gone, the edge is told to stop.
//!
//! Every queue is drained by the shell: [`Hub::take_call`], [`Hub::take_for_edge`], [`Hub::take_for_viewer`] and
//! [`Hub::take_answer`]. Time is monotonic, from any beginning.

mod stream;
mod viewer;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::relay::{EndReason, FrameHeader, FrameKind, FromEdge, ToEdge, View};
use aivms_contract::time::UtcMillis;

use stream::{Fate, Source, Stream};
use viewer::Viewer;

/// Most viewers of one edge; one more is told to come back later.
pub const MAX_VIEWERS: usize = 64;
/// Most streams of one edge. An edge sends each over a line that is seldom fast.
pub const MAX_STREAMS: usize = 32;
/// Most requests an edge has not answered; one more is told to come back later.
pub const MAX_REQUESTS: usize = 32;
/// Most fragments a playing viewer may be owed; what it grants beyond is cut.
pub const MAX_CREDIT: u32 = 16;
/// Largest init frame in bytes, head and all; those of real cameras have about one thousand. A stream with a larger
/// one is closed.
pub const MAX_INIT_BYTES: usize = 64 * 1024;
/// Longest `mime` of a stream in bytes; one with a longer is closed.
pub const MAX_MIME_BYTES: usize = 256;
/// Longest reason in bytes why a stream is over; a longer one is left out.
pub const MAX_DETAIL_BYTES: usize = 2 * 1024;
/// Most bytes of playback that wait for all viewers of one edge; with more, the one for whom most waits is sent away.
pub const MAX_ALL_PLAYBACK_BYTES: usize = 256 * 1024 * 1024;
/// How long a camera goes on sending after its last viewer left: whoever comes back meanwhile has a picture at once.
pub const GRACE: Duration = Duration::from_secs(2);
/// How often an edge that is needed and not connected is called.
pub const CALL_EVERY: Duration = Duration::from_secs(5);
/// How long viewers wait for an edge before they are told that it is away.
pub const EDGE_WAIT: Duration = Duration::from_secs(20);

/// A viewer of this hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerId(u64);

/// What a viewer wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The camera.
    pub camera: CameraId,
    /// Live or playback.
    pub view: View,
    /// Whether the viewer plays H.265.
    pub h265: bool,
}

/// A question to the edge that has one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Which cameras there are.
    Cameras,
    /// What is recorded of a camera in a time.
    Timeline(CameraId, UtcMillis, UtcMillis),
    /// Small pictures of an hour.
    Sprite(CameraId, UtcMillis),
    /// What was detected in a time.
    Boxes(CameraId, UtcMillis, UtcMillis),
}

/// What a viewer gets.
#[derive(Debug, Clone, PartialEq)]
pub enum ForViewer {
    /// A text frame. [`FromEdge::Ended`] is the last.
    Text(FromEdge),
    /// A binary frame as the edge sent it.
    Frame(Arc<[u8]>),
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A text frame.
    Text(FromEdge),
    /// A binary frame, head and all.
    Frame(Arc<[u8]>),
    /// The edge could not be reached, or went away before it answered.
    EdgeAway,
}

/// Says that there is no room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many look at this edge; try again later")]
pub struct Full;

/// The hub of one edge.
#[derive(Debug, Default)]
pub struct Hub {
    /// Rises; a number is never used twice.
    last_number: u32,
    last_viewer: u64,
    viewers: BTreeMap<ViewerId, Viewer>,
    streams: BTreeMap<u32, Stream>,
    /// Requests that are not answered, with what to ask again on the next connection.
    requests: BTreeMap<u32, ToEdge>,
    is_connected: bool,
    /// Since when the edge is needed and not connected.
    missing_since: Option<Duration>,
    next_call: Option<Duration>,
    call: bool,
    for_edge: VecDeque<ToEdge>,
    answers: VecDeque<(u32, Answer)>,
}

impl Hub {
    /// Lets a viewer in.
    ///
    /// # Errors
    /// There is no room.
    pub fn join(&mut self, wanted: &Wanted, now: Duration) -> Result<ViewerId, Full> {
        if self.viewers.len() >= MAX_VIEWERS {
            return Err(Full);
        }
        let shared = match wanted.view {
            View::Live => self.streams.iter().find(|(_, stream)| stream.suits(wanted)).map(|(number, _)| *number),
            View::Playback { .. } => None,
        };
        self.last_viewer += 1;
        let id = ViewerId(self.last_viewer);
        let number = match shared {
            Some(number) => number,
            None => self.open(wanted, id)?,
        };
        let mut viewer = Viewer::new(number, matches!(wanted.view, View::Live));
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.welcome(&mut viewer, now);
            stream.viewers.insert(id);
            stream.close_at = None;
        }
        self.viewers.insert(id, viewer);
        self.need_edge(now);
        Ok(id)
    }

    /// A viewer has gone, or is sent away.
    pub fn leave(&mut self, viewer: ViewerId, now: Duration) {
        let Some(gone) = self.viewers.remove(&viewer) else { return };
        let Some(stream) = self.streams.get_mut(&gone.stream) else { return };
        stream.viewers.remove(&viewer);
        if stream.viewers.is_empty() {
            match stream.source {
                Source::Live => stream.close_at = Some(now + GRACE),
                Source::Playback(_) => self.close(gone.stream),
            }
        }
        self.need_edge(now);
    }

    /// A playing viewer goes elsewhere.
    pub fn seek(&mut self, viewer: ViewerId, from: UtcMillis, key_frames_only: bool) {
        let Some((number, viewer)) = self.playing(viewer) else { return };
        viewer.forget_media();
        let Some(stream) = self.streams.get_mut(&number) else { return };
        if stream.seek(from, key_frames_only) {
            self.for_edge.retain(|message| {
                !matches!(message,
                ToEdge::Seek { stream, .. } | ToEdge::Credit { stream, .. } if *stream == number)
            });
            self.tell(ToEdge::Seek { stream: number, from, key_frames_only });
        }
    }

    /// A playing viewer takes so many fragments more.
    pub fn credit(&mut self, viewer: ViewerId, fragments: u32) {
        let Some((number, _)) = self.playing(viewer) else { return };
        let granted = self.streams.get_mut(&number).map_or(0, |stream| stream.grant(fragments));
        if granted == 0 {
            return;
        }
        let waiting = self.for_edge.iter_mut().find_map(|message| match message {
            ToEdge::Credit { stream, fragments } if *stream == number => Some(fragments),
            _ => None,
        });
        match waiting {
            Some(fragments) => *fragments += granted,
            None => self.tell(ToEdge::Credit { stream: number, fragments: granted }),
        }
    }

    /// Asks the edge something; the answer comes by [`Self::take_answer`] under this number.
    ///
    /// # Errors
    /// There is no room.
    pub fn ask(&mut self, ask: &Ask, now: Duration) -> Result<u32, Full> {
        if self.requests.len() >= MAX_REQUESTS {
            return Err(Full);
        }
        let request = self.next_number();
        let message = ask.message(request);
        self.requests.insert(request, message.clone());
        self.tell(message);
        self.need_edge(now);
        Ok(request)
    }

    /// Nobody waits for this answer any more.
    pub fn forget(&mut self, request: u32) {
        self.requests.remove(&request);
        self.for_edge.retain(|message| message.request() != Some(request));
    }

    /// The edge has connected: it knows of nothing yet.
    pub fn connected(&mut self, now: Duration) {
        self.is_connected = true;
        (self.missing_since, self.next_call, self.call) = (None, None, false);
        let streams = self.streams.iter_mut().flat_map(|(number, stream)| stream.reopen(*number));
        self.for_edge = streams.chain(self.requests.values().cloned()).collect();
        self.need_edge(now);
    }

    /// The edge's connection has ended.
    pub fn disconnected(&mut self, now: Duration) {
        self.is_connected = false;
        self.for_edge.clear();
        self.need_edge(now);
    }

    /// The edge has said something.
    pub fn text(&mut self, message: &FromEdge, now: Duration) {
        match message {
            FromEdge::Opened { stream, mime, .. } if mime.len() > MAX_MIME_BYTES => self.refuse(*stream, now),
            FromEdge::Opened { stream, from, .. } => {
                if let Some(open) = self.streams.get_mut(stream)
                    && open.opened(message.clone(), *from)
                {
                    self.give(*stream, message);
                }
            }
            FromEdge::Skipped { stream, .. } | FromEdge::Dropped { stream, .. } => {
                self.give(*stream, message);
            }
            FromEdge::Ended { stream, reason, detail } => {
                let detail = if detail.len() > MAX_DETAIL_BYTES { "" } else { detail };
                self.give(*stream, &FromEdge::Ended { stream: *stream, reason: *reason, detail: detail.to_owned() });
                self.streams.remove(stream);
                self.need_edge(now);
            }
            FromEdge::Cameras { request, .. }
            | FromEdge::Timeline { request, .. }
            | FromEdge::Failed { request, .. } => self.answer(*request, Answer::Text(message.clone()), now),
            FromEdge::Error { .. } | FromEdge::Unknown => {}
        }
    }

    /// The edge has sent a binary frame.
    pub fn frame(&mut self, header: &FrameHeader, frame: &Arc<[u8]>, now: Duration) {
        match header.kind {
            FrameKind::Init | FrameKind::Fragment => self.media(header, frame, now),
            FrameKind::Jpeg | FrameKind::Boxes => self.answer(header.stream, Answer::Frame(Arc::clone(frame)), now),
            FrameKind::Unknown(_) => {}
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        let idle: Vec<_> = self.streams.iter().filter(|(_, s)| due(s.close_at)).map(|(number, _)| *number).collect();
        idle.into_iter().for_each(|number| self.close(number));
        let slow: Vec<_> =
            self.viewers.iter().filter(|(_, viewer)| viewer.is_too_slow(now)).map(|(id, _)| *id).collect();
        slow.into_iter().for_each(|viewer| self.send_away(viewer, EndReason::TooSlow, TOO_SLOW, now));
        self.need_edge(now);
        if due(self.next_call) {
            self.call = true;
            self.next_call = Some(now + CALL_EVERY);
        }
        if due(self.missing_since.map(|since| since + EDGE_WAIT)) {
            self.give_up(now);
        }
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let closing = self.streams.values().filter_map(|stream| stream.close_at);
        let slow = self.viewers.values().filter_map(Viewer::slow_at);
        let missing = self.missing_since.map(|since| since + EDGE_WAIT);
        closing.chain(slow).chain(self.next_call).chain(missing).min()
    }

    /// Ends what a viewer sees, for a reason of the cloud's.
    pub fn send_away(&mut self, viewer: ViewerId, reason: EndReason, detail: &str, now: Duration) {
        let Some(gone) = self.viewers.get_mut(&viewer) else { return };
        gone.end(reason, detail);
        let number = gone.stream;
        let Some(stream) = self.streams.get_mut(&number) else { return };
        stream.viewers.remove(&viewer);
        if stream.viewers.is_empty() {
            stream.close_at = Some(now);
        }
    }

    /// Whether the edge is to be told to open its WebSocket; true once for each call.
    pub fn take_call(&mut self) -> bool {
        std::mem::take(&mut self.call)
    }

    /// The next message to the edge, while it is connected.
    pub fn take_for_edge(&mut self) -> Option<ToEdge> {
        if self.is_connected { self.for_edge.pop_front() } else { None }
    }

    /// The next frame for a viewer.
    pub fn take_for_viewer(&mut self, viewer: ViewerId) -> Option<ForViewer> {
        self.viewers.get_mut(&viewer)?.take()
    }

    /// The next answer with the number of its request.
    pub fn take_answer(&mut self) -> Option<(u32, Answer)> {
        self.answers.pop_front()
    }

    /// Viewers there are.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.viewers.len()
    }

    /// Streams the edge is asked for.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether the hub can be dropped: nobody looks, nothing is asked.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.is_needed() && self.viewers.is_empty() && self.answers.is_empty() && !self.is_connected
    }

    fn is_needed(&self) -> bool {
        !self.streams.is_empty() || !self.requests.is_empty()
    }

    fn need_edge(&mut self, now: Duration) {
        if self.is_connected || !self.is_needed() {
            (self.missing_since, self.next_call) = (None, None);
        } else if self.missing_since.is_none() {
            (self.missing_since, self.next_call) = (Some(now), Some(now));
        }
    }

    /// The edge did not come: everybody is told.
    fn give_up(&mut self, now: Duration) {
        let waiting: Vec<_> = self.viewers.keys().copied().collect();
        waiting.into_iter().for_each(|viewer| self.send_away(viewer, EndReason::EdgeAway, EDGE_AWAY, now));
        self.streams.clear();
        let asked = std::mem::take(&mut self.requests);
        self.answers.extend(asked.into_keys().map(|request| (request, Answer::EdgeAway)));
        self.for_edge.clear();
        self.need_edge(now);
    }

    fn open(&mut self, wanted: &Wanted, viewer: ViewerId) -> Result<u32, Full> {
        if self.streams.len() >= MAX_STREAMS {
            return Err(Full);
        }
        let number = self.next_number();
        let mut stream = Stream::new(wanted, viewer);
        self.for_edge.extend(stream.reopen(number));
        self.streams.insert(number, stream);
        Ok(number)
    }

    fn close(&mut self, number: u32) {
        if self.streams.remove(&number).is_some() {
            self.for_edge.retain(|message| message.stream() != Some(number));
            self.tell(ToEdge::Close { stream: number });
        }
    }

    fn tell(&mut self, message: ToEdge) {
        // What an edge that is not there has to know it is told when it comes.
        if self.is_connected {
            self.for_edge.push_back(message);
        }
    }

    fn answer(&mut self, request: u32, answer: Answer, now: Duration) {
        if self.requests.remove(&request).is_some() {
            self.answers.push_back((request, answer));
        }
        self.need_edge(now);
    }

    fn media(&mut self, header: &FrameHeader, frame: &Arc<[u8]>, now: Duration) {
        let Some(stream) = self.streams.get_mut(&header.stream) else { return };
        match stream.keep(header, frame) {
            Fate::Wanted => {}
            Fate::Unwanted => return,
            Fate::Refused => return self.refuse(header.stream, now),
        }
        let mut too_slow = Vec::new();
        for id in &stream.viewers {
            if let Some(viewer) = self.viewers.get_mut(id)
                && !viewer.give_frame(header, frame, now)
            {
                too_slow.push(*id);
            }
        }
        too_slow.extend(self.hoarder());
        too_slow.into_iter().for_each(|viewer| self.send_away(viewer, EndReason::TooSlow, TOO_SLOW, now));
    }

    /// The playing viewer for whom most waits, when too much waits for all of them.
    fn hoarder(&self) -> Option<ViewerId> {
        let playing = || self.viewers.iter().filter(|(_, viewer)| !viewer.is_live);
        let bytes: usize = playing().map(|(_, viewer)| viewer.bytes()).sum();
        let most = playing().max_by_key(|(_, viewer)| viewer.bytes());
        most.filter(|_| bytes > MAX_ALL_PLAYBACK_BYTES).map(|(id, _)| *id)
    }

    /// Closes a stream of which the edge sends what it may not.
    fn refuse(&mut self, number: u32, now: Duration) {
        let (reason, detail) = (EndReason::Failed, NOT_KEPT_TO.to_owned());
        self.give(number, &FromEdge::Ended { stream: number, reason, detail });
        self.close(number);
        self.need_edge(now);
    }

    fn give(&mut self, stream: u32, message: &FromEdge) {
        let Some(stream) = self.streams.get(&stream) else { return };
        for id in &stream.viewers {
            if let Some(viewer) = self.viewers.get_mut(id) {
                viewer.give(message.clone());
            }
        }
    }

    fn playing(&mut self, viewer: ViewerId) -> Option<(u32, &mut Viewer)> {
        let viewer = self.viewers.get_mut(&viewer).filter(|viewer| !viewer.is_live)?;
        Some((viewer.stream, viewer))
    }

    fn next_number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }
}

const TOO_SLOW: &str = "the connection is too slow for this video: choose the camera's smaller stream, or look again";
const NOT_KEPT_TO: &str = "the edge sends what it may not: update its software, and look again";
const EDGE_AWAY: &str = "the edge does not answer: check that it has power and a network";

/// Bytes of memory a frame takes while it waits, roughly: frames without content are not for nothing.
fn weight(frame: &Arc<[u8]>) -> usize {
    const BESIDES: usize = 256;
    frame.len() + BESIDES
}

impl Ask {
    fn message(&self, request: u32) -> ToEdge {
        match self.clone() {
            Self::Cameras => ToEdge::Cameras { request },
            Self::Timeline(camera_id, from, to) => ToEdge::Timeline { request, camera_id, from, to },
            Self::Sprite(camera_id, hour) => ToEdge::Sprite { request, camera_id, hour },
            Self::Boxes(camera_id, from, to) => ToEdge::Boxes { request, camera_id, from, to },
        }
    }
}

#[cfg(test)]
mod tests;
