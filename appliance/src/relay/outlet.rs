//! The way of all streams to the one socket. Live video never waits here for long: what the line does not take is
//! dropped up to the next key picture.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aivms_contract::relay::{FrameHeader, FromEdge};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::permit::Permit;

/// Messages of all streams that wait for the socket. When full, live video is dropped, and playback waits.
const MESSAGES: usize = 256;
/// How long live video may wait for the socket before what comes is dropped.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The streams' end; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outlet(mpsc::Sender<Outgoing>);

/// A message for the socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) message: OutMessage,
    /// Told when it was written.
    pub(super) waiting: Option<Waiting>,
    /// Whether it may still leave: asked when it is written, because it may have waited.
    pub(super) permit: Option<Permit>,
}

/// What it is.
#[derive(Debug)]
pub(super) enum OutMessage {
    Text(FromEdge),
    Frame(Vec<u8>),
}

/// Since when what one live stream has sent waits for the socket, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<VecDeque<Instant>>>);

/// The socket is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

pub(super) fn channel() -> (Outlet, mpsc::Receiver<Outgoing>) {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    (Outlet(sender), receiver)
}

impl Outlet {
    /// Says something; waits for room.
    pub(super) async fn say(&self, message: FromEdge) -> Result<(), Gone> {
        self.send(OutMessage::Text(message), None).await
    }

    /// Sends a frame that shows nothing of a camera; waits for room.
    pub(super) async fn frame(&self, header: &FrameHeader, body: &[u8]) -> Result<(), Gone> {
        self.send(OutMessage::Frame(header.frame(body)), None).await
    }

    /// Sends pictures of a camera; waits for room.
    pub(super) async fn pictures(&self, header: &FrameHeader, body: &[u8], permit: &Permit) -> Result<(), Gone> {
        self.send(OutMessage::Frame(header.frame(body)), Some(permit.clone())).await
    }

    /// Sends live pictures of a camera now; `Ok(false)` when the line is too slow for it.
    pub(super) fn live_pictures(
        &self,
        header: &FrameHeader,
        body: &[u8],
        permit: &Permit,
        waiting: &Waiting,
    ) -> Result<bool, Gone> {
        let now = Instant::now();
        if waiting.oldest().is_some_and(|since| now - since > MAX_WAIT) {
            return Ok(false);
        }
        let message = OutMessage::Frame(header.frame(body));
        let outgoing = Outgoing { message, waiting: Some(waiting.clone()), permit: Some(permit.clone()) };
        match self.0.try_reserve() {
            Ok(room) => {
                waiting.entries().push_back(now);
                room.send(outgoing);
                Ok(true)
            }
            Err(mpsc::error::TrySendError::Full(())) => Ok(false),
            Err(mpsc::error::TrySendError::Closed(())) => Err(Gone),
        }
    }

    async fn send(&self, message: OutMessage, permit: Option<Permit>) -> Result<(), Gone> {
        self.0.send(Outgoing { message, waiting: None, permit }).await.map_err(|_| Gone)
    }
}

impl Outgoing {
    /// Whether nothing of it is to be hidden at the moment.
    pub(super) fn may_leave(&self) -> bool {
        self.permit.as_ref().is_none_or(|permit| permit.refusal().is_none())
    }
}

impl Waiting {
    /// The oldest was written.
    pub(super) fn written(&self) {
        self.entries().pop_front();
    }

    fn oldest(&self) -> Option<Instant> {
        self.entries().front().copied()
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::relay::FrameKind;
    use aivms_contract::time::UtcMillis;

    #[tokio::test]
    async fn live_video_is_refused_when_the_line_takes_nothing_and_taken_again_when_it_does() {
        let (outlet, mut socket) = channel();
        let (waiting, now) = (Waiting::default(), UtcMillis::from_millis(0));
        let permit = Permit::new(&crate::masks::Gate::new().1, &"gate".parse().unwrap());
        let kind = FrameKind::Fragment;
        let header = FrameHeader { kind, key: true, stream: 1, wall: now, sent_at: now, duration_ms: 100, media_ms: 0 };
        let sent =
            (0..MESSAGES + 9).filter(|_| outlet.live_pictures(&header, b"x", &permit, &waiting) == Ok(true)).count();
        assert_eq!(sent, MESSAGES, "a line that takes nothing holds no more than this");
        waiting.entries()[0] -= MAX_WAIT * 2;
        drop(socket.recv().await.unwrap());
        assert_eq!(
            outlet.live_pictures(&header, b"x", &permit, &waiting),
            Ok(false),
            "the oldest has waited for too long"
        );
        waiting.written();
        assert_eq!(outlet.live_pictures(&header, b"x", &permit, &waiting), Ok(true));
        drop(socket);
        assert_eq!(outlet.live_pictures(&header, b"x", &permit, &waiting), Err(Gone));
    }
}
