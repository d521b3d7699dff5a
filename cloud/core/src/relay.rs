//! The hub of one edge's relay: who looks at what, what is asked of the edge for it, and what each viewer gets.
//!
//! A camera's live video comes up once however many watch. What a viewer does not take in time is left out up to the
//! next key picture, and never holds up another viewer. When the last one has gone, the edge is told to stop.
//!
//! Every queue is drained by the shell: [`Hub::take_call`], [`Hub::take_for_edge`], [`Hub::take_for_viewer`] and
//! [`Hub::take_answer`]. Time is monotonic, from any beginning.

mod heard;
mod limits;
mod stream;
mod viewer;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aivms_contract::relay::{EndReason, ToEdge, View};
use aivms_contract::time::UtcMillis;

pub use limits::{
    CALL_EVERY, EDGE_WAIT, GRACE, MAX_ALL_PLAYBACK_BYTES, MAX_CREDIT, MAX_DETAIL_BYTES, MAX_INIT_BYTES, MAX_MIME_BYTES,
    MAX_REQUESTS, MAX_STREAMS, MAX_VIEWERS,
};
pub use words::{Answer, Ask, ForViewer, Full, Wanted};

use stream::{Source, Stream};
use viewer::Viewer;

/// A viewer of this hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerId(u64);

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
const EDGE_AWAY: &str = "the edge does not answer: check that it has power and a network";

#[cfg(test)]
mod tests;
