//! One camera's live video for the cloud, however many watch there.

use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::relay::{EndReason, FrameHeader, FrameKind, FromEdge, Role};
use aivms_contract::time::UtcMillis;
use aivms_footage::VideoCodec;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::Relay;
use super::feed::{Feed, FeedTap};
use super::outlet::{Gone, Outlet, Waiting};
use super::packager::{Packager, Packed, Piece};
use super::permit::Permit;
use crate::clock;
use crate::pipeline::access_unit::AccessUnit;
use crate::pipeline::consumer::StreamRole;

/// How long a camera that gives no video is waited for: a reconnection fits.
const NO_VIDEO: Duration = Duration::from_secs(15);

/// What a live stream is asked for.
#[derive(Debug, Clone)]
pub(super) struct LiveStream {
    pub(super) stream: u32,
    pub(super) camera: CameraId,
    /// Whether the viewers play H.265.
    pub(super) h265: bool,
}

/// Why a stream is over, for programs and for a person.
pub(super) type Ended = (EndReason, String);

/// Why no feed can be shown now.
enum Missing {
    /// One may come.
    Yet,
    /// None of the camera's can be shown.
    Ever(Ended),
}

impl LiveStream {
    /// Sends until the camera has no video for a while, or the socket is gone.
    /// It ends at once with a mask.
    pub(super) async fn run(self, relay: Relay, permit: Permit, outlet: Outlet) -> Result<Ended, Gone> {
        let sender = Sender {
            stream: self.stream,
            outlet,
            permit: permit.clone(),
            waiting: Waiting::default(),
            dropped: 0,
            is_behind: false,
        };
        permit.during(self.send(relay, sender)).await
    }

    async fn send(&self, relay: Relay, mut sender: Sender) -> Result<Ended, Gone> {
        loop {
            let feed = match self.feed(&relay).await {
                Ok(feed) => feed,
                Err(ended) => return Ok(ended),
            };
            let Some(codec) = feed.codec() else { continue };
            let (tap, role) = (feed.tap(), feed.role);
            // Held no longer, so that the end of the connection is seen.
            drop(feed);
            sender.pass_on(tap, Packager::new(codec), role).await?;
        }
    }

    /// Waits for a feed that can be shown.
    async fn feed(&self, relay: &Relay) -> Result<std::sync::Arc<Feed>, Ended> {
        let mut changes = relay.changes();
        let deadline = Instant::now() + NO_VIDEO;
        loop {
            match self.choose(relay) {
                Ok(feed) => return Ok(feed),
                Err(Missing::Ever(ended)) => return Err(ended),
                Err(Missing::Yet) => {}
            }
            // A feed without a picture yet does not count as a change, so it is looked at again.
            let look_again = (Instant::now() + Duration::from_millis(100)).min(deadline);
            let _ = timeout_at(look_again, changes.changed()).await;
            if Instant::now() >= deadline {
                let detail = format!("{}: the camera gives no video at the moment", self.camera);
                return Err((EndReason::NoVideo, detail));
            }
        }
    }

    /// The main stream where browsers play it, else the smaller one.
    fn choose(&self, relay: &Relay) -> Result<std::sync::Arc<Feed>, Missing> {
        let camera = &self.camera;
        let known = relay.known(camera).ok_or_else(|| {
            Missing::Ever((EndReason::UnknownCamera, format!("{camera}: this edge has no such camera")))
        })?;
        let plays = |codec| codec == VideoCodec::H264 || self.h265;
        let feeds = [StreamRole::Main, StreamRole::Sub].map(|role| relay.feed(camera, role));
        if let Some(feed) = feeds.iter().flatten().find(|feed| feed.codec().is_some_and(plays)) {
            return Ok(feed.clone());
        }
        let [main, _] = &feeds;
        let main = main.as_ref().ok_or(Missing::Yet)?;
        let unplayable = match main.codec() {
            Some(VideoCodec::H265) => Some("H.265".to_owned()),
            _ => main.unplayable(),
        };
        // The smaller stream may still be connecting.
        match unplayable {
            Some(codec) if relay.feed(camera, StreamRole::Sub).is_some() || !known.has_sub => {
                let detail = format!(
                    "{camera}: the camera sends {codec}, which this browser can't play; set sub_url to an H.264 \
                     stream of the camera, or set the camera to H.264"
                );
                Err(Missing::Ever((EndReason::Codec, detail)))
            }
            _ => Err(Missing::Yet),
        }
    }
}

/// Sends one stream's fragments.
struct Sender {
    stream: u32,
    outlet: Outlet,
    permit: Permit,
    waiting: Waiting,
    /// Fragments left out that nobody was told of.
    dropped: u32,
    /// Whether only a key picture is of use.
    is_behind: bool,
}

impl Sender {
    /// Passes a connection's units on until it ends.
    async fn pass_on(&mut self, mut tap: FeedTap, mut packager: Packager, role: StreamRole) -> Result<(), Gone> {
        for unit in std::mem::take(&mut tap.kept) {
            self.unit(&unit, &tap, &mut packager, role).await?;
        }
        let mut zero_at = tap.clock.borrow().zero_at;
        loop {
            match tap.fresh.recv().await {
                Ok(unit) => {
                    let clock_was_set = tap.clock.borrow().zero_at != zero_at;
                    if clock_was_set && unit.key {
                        zero_at = tap.clock.borrow().zero_at;
                        packager = Packager::new(packager.codec());
                    }
                    self.unit(&unit, &tap, &mut packager, role).await?;
                }
                Err(RecvError::Lagged(_)) => packager.lost(),
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn unit(
        &mut self,
        unit: &AccessUnit,
        tap: &FeedTap,
        packager: &mut Packager,
        role: StreamRole,
    ) -> Result<(), Gone> {
        let clock = *tap.clock.borrow();
        for packed in packager.push(unit, clock) {
            match packed {
                Packed::Init { tracks, bytes, zero } => {
                    let (mime, frame) = (tracks.mime(), tracks.video.frame);
                    let role = if role == StreamRole::Main { Role::Main } else { Role::Sub };
                    self.outlet
                        .say(FromEdge::Opened {
                            stream: self.stream,
                            mime,
                            width: frame.width,
                            height: frame.height,
                            role,
                            from: None,
                            masked: false,
                        })
                        .await?;
                    self.outlet.frame(&init_header(self.stream, zero), &bytes).await?;
                }
                Packed::Fragment(piece) => self.piece(&piece).await?,
            }
        }
        Ok(())
    }

    async fn piece(&mut self, piece: &Piece) -> Result<(), Gone> {
        let header = fragment_header(self.stream, piece);
        let mut is_sent = !self.is_behind || piece.key;
        if is_sent {
            is_sent = self.outlet.live_pictures(&header, &piece.bytes, &self.permit, &self.waiting)?;
        }
        if !is_sent {
            self.is_behind = true;
            self.dropped += 1;
            return Ok(());
        }
        self.is_behind = false;
        if self.dropped > 0 {
            let fragments = std::mem::take(&mut self.dropped);
            tracing::debug!(stream = self.stream, fragments, "the line to the cloud is too slow for live video");
            self.outlet.say(FromEdge::Dropped { stream: self.stream, fragments }).await?;
        }
        Ok(())
    }
}

/// The head of an init segment.
pub(super) fn init_header(stream: u32, zero: UtcMillis) -> FrameHeader {
    let kind = FrameKind::Init;
    FrameHeader { kind, key: false, stream, wall: zero, sent_at: clock::now(), duration_ms: 0, media_ms: 0 }
}

/// The head of a fragment.
pub(super) fn fragment_header(stream: u32, piece: &Piece) -> FrameHeader {
    FrameHeader {
        kind: FrameKind::Fragment,
        key: piece.key,
        stream,
        wall: piece.wall,
        sent_at: clock::now(),
        duration_ms: piece.duration_ms,
        media_ms: piece.media_ms,
    }
}
