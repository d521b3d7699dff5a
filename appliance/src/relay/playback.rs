//! One viewer's playback: reads what the recorder wrote, a fragment for each credit.
//!
//! Media time in what is sent is wall time from a stated zero, so that a gap is a gap there too.

use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::relay::{EndReason, FromEdge, Role};
use aivms_contract::time::UtcMillis;
use aivms_footage::init_segment_live;
use aivms_footage::track::{Tracks, VideoCodec};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::live::{Ended, fragment_header, init_header};
use super::outlet::{Gone, Outlet};
use super::permit::Permit;
use super::reel::{Reel, Turn, piece_from};
use crate::recorder::Footage;

/// How often the end of what is recorded so far is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Media time zero lies this long before the first picture, so that pictures decoded before they are shown fit.
const LEAD: Duration = Duration::from_secs(1);

/// What the cloud says to a stream that plays back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Go elsewhere.
    Seek { from: UtcMillis, key_frames_only: bool },
    /// Send so many fragments more.
    Credit(u32),
}

/// What playback is asked for.
#[derive(Debug, Clone)]
pub(super) struct PlaybackStream {
    pub(super) stream: u32,
    pub(super) camera: CameraId,
    pub(super) from: UtcMillis,
    pub(super) key_frames_only: bool,
    /// Whether the viewer plays H.265.
    pub(super) h265: bool,
}

/// Where a stream is.
struct Player {
    about: PlaybackStream,
    outlet: Outlet,
    permit: Permit,
    reel: Reel,
    credit: u32,
    /// The time to say with the next beginning, after an `open` or a `seek`.
    answers: Option<UtcMillis>,
    zero: Option<UtcMillis>,
    tracks: Option<Tracks>,
    sequence: u32,
}

impl PlaybackStream {
    /// Plays until the cloud closes it, or there is nothing that can be played. It ends at once with a mask.
    pub(super) async fn run(
        self,
        permit: Permit,
        footage: Footage,
        orders: mpsc::Receiver<Order>,
        outlet: Outlet,
    ) -> Result<Ended, Gone> {
        let mut reel = Reel::new(footage, self.camera.clone());
        reel.seek(self.from, self.key_frames_only);
        let answers = Some(self.from);
        let player = Player {
            about: self,
            outlet,
            permit: permit.clone(),
            reel,
            credit: 0,
            answers,
            zero: None,
            tracks: None,
            sequence: 0,
        };
        permit.during(player.play(orders)).await
    }
}

impl Player {
    async fn play(mut self, mut orders: mpsc::Receiver<Order>) -> Result<Ended, Gone> {
        loop {
            // A beginning is told without credit, so that the viewer knows what it is in for.
            while self.credit == 0 && self.answers.is_none() {
                match orders.recv().await {
                    Some(order) => self.order(order),
                    None => return Ok((EndReason::Stopped, String::new())),
                }
            }
            while let Ok(order) = orders.try_recv() {
                self.order(order);
            }
            if let Some(ended) = self.step(&mut orders).await? {
                return Ok(ended);
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Seek { from, key_frames_only } => {
                self.reel.seek(from, key_frames_only);
                (self.credit, self.answers, self.zero) = (0, Some(from), None);
            }
            Order::Credit(fragments) => self.credit = self.credit.saturating_add(fragments),
        }
    }

    async fn step(&mut self, orders: &mut mpsc::Receiver<Order>) -> Result<Option<Ended>, Gone> {
        let stream = self.about.stream;
        match self.reel.turn().await {
            Turn::Fragment { tracks, fragment, wall } => {
                if tracks.video.codec == VideoCodec::H265 && !self.about.h265 {
                    let detail = format!(
                        "{}: H.265 was recorded, which this browser can't play; ask for a clip, or set the camera to \
                         H.264",
                        self.about.camera
                    );
                    return Ok(Some((EndReason::Codec, detail)));
                }
                self.begin(&tracks, wall).await?;
                if self.credit == 0 {
                    // The fragment waits for its credit; a seek meanwhile takes it back.
                    self.reel.put_back(tracks, fragment, wall);
                    return Ok(None);
                }
                let zero = self.zero.unwrap_or(wall);
                self.sequence = self.sequence.wrapping_add(1);
                if let Some(piece) = piece_from(fragment, &tracks, self.sequence, zero) {
                    self.outlet.pictures(&fragment_header(stream, &piece), &piece.bytes, &self.permit).await?;
                    self.credit -= 1;
                }
            }
            Turn::Skipped { from, to } => self.outlet.say(FromEdge::Skipped { stream, from, to }).await?,
            Turn::NotYet => {
                tokio::select! {
                    () = sleep(LOOK_AGAIN) => {}
                    order = orders.recv() => match order {
                        Some(order) => self.order(order),
                        None => return Ok(Some((EndReason::Stopped, String::new()))),
                    },
                }
            }
            Turn::Nothing => {
                let detail = format!("{}: nothing is recorded from this time on", self.about.camera);
                return Ok(Some((EndReason::NoFootage, detail)));
            }
            Turn::Failed(detail) => return Ok(Some((EndReason::Failed, detail))),
        }
        Ok(None)
    }

    /// Says how it begins, after a seek or when the parameters are others.
    async fn begin(&mut self, tracks: &Tracks, wall: UtcMillis) -> Result<(), Gone> {
        if self.answers.is_none() && self.tracks.as_ref() == Some(tracks) {
            return Ok(());
        }
        let stream = self.about.stream;
        let zero = *self.zero.get_or_insert(wall - LEAD);
        self.tracks = Some(tracks.clone());
        let frame = tracks.video.frame;
        self.outlet
            .say(FromEdge::Opened {
                stream,
                mime: tracks.mime(),
                width: frame.width,
                height: frame.height,
                role: Role::Main,
                from: self.answers.take(),
                masked: false,
            })
            .await?;
        self.outlet.frame(&init_header(stream, zero), &init_segment_live(tracks)).await
    }
}
