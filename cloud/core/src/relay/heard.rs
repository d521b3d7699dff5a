//! What the edge says, and to whom it goes.

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::relay::{EndReason, FrameHeader, FrameKind, FromEdge};

use super::stream::Fate;
use super::{Answer, Hub, MAX_ALL_PLAYBACK_BYTES, MAX_DETAIL_BYTES, MAX_MIME_BYTES, TOO_SLOW, ViewerId};

const NOT_KEPT_TO: &str = "the edge sends what it may not: update its software, and look again";

impl Hub {
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
}
