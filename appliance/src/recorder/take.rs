//! One connection of one camera: takes its units, builds fragments and hands them to the writer. Never waits for a disk.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use aivms_contract::footage::GapCause;
use aivms_contract::id::CameraId;
use aivms_footage::fragment::{Fragment, write_fragment};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use super::assembly::{Assembly, Output};
use super::footage::Shared;
use super::policy::PolicyWatch;
use super::ticket::{Queued, Ticket};
use super::writer::{Order, Piece};
use crate::pipeline::consumer::StreamFeed;

/// Bytes of fragments that may wait for the disk: sixteen seconds of sixteen cameras of 4 Mbit/s. When they are there
/// the disk is too slow or stuck: fragments are lost, with the cause told, until there is room again.
pub(super) const QUEUED_BYTES: u64 = 128 << 20;

/// The way from all tasks to the writer.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    pub(super) orders: SyncSender<Order>,
    pub(super) queued: Arc<Queued>,
    pub(super) shared: Arc<Shared>,
}

/// One connection's recording.
pub(super) struct Take {
    camera: CameraId,
    sink: Sink,
    policy: PolicyWatch,
    feed: StreamFeed,
    assembly: Assembly,
    segment: Option<Writing>,
    /// Whose fault it is that the segment before the next one ended early.
    after: Option<GapCause>,
    enabled: bool,
}

/// The segment that is written.
struct Writing {
    ticket: Arc<Ticket>,
    sequence: u32,
}

impl Take {
    pub(super) fn new(camera: CameraId, sink: Sink, policy: PolicyWatch, feed: StreamFeed, assembly: Assembly) -> Self {
        let enabled = policy.borrow().records(&camera);
        Self { camera, sink, policy, feed, assembly, segment: None, after: None, enabled }
    }

    /// Records until the connection ends or `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut sounds = true;
        loop {
            tokio::select! {
                biased;
                unit = self.feed.units.recv() => match unit {
                    Ok(unit) => self.picture(&unit),
                    Err(RecvError::Lagged(lost)) => self.lagged(lost),
                    Err(RecvError::Closed) => break,
                },
                sound = self.feed.audio.recv(), if sounds => match sound {
                    Ok(sound) => if self.enabled { self.assembly.sound(&sound) },
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => sounds = false,
                },
                () = stop.cancelled() => break,
            }
        }
        self.take_rest();
        self.end();
    }

    /// Takes what had come when it was told to stop.
    fn take_rest(&mut self) {
        loop {
            match self.feed.units.try_recv() {
                Ok(unit) => self.picture(&unit),
                Err(TryRecvError::Lagged(lost)) => self.lagged(lost),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn picture(&mut self, unit: &crate::pipeline::access_unit::AccessUnit) {
        if self.policy.has_changed().unwrap_or(false) {
            self.obey();
        }
        if !self.enabled {
            return;
        }
        if self.segment.as_ref().is_some_and(|segment| segment.ticket.has_failed()) {
            self.abandon(GapCause::Disk);
        }
        let clock = *self.feed.clock.borrow();
        let outputs = self.assembly.picture(unit, clock);
        self.put_all(outputs);
    }

    fn put_all(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Begin { tracks, wall } => {
                    let ticket = Arc::new(Ticket::new(self.camera.clone()));
                    let begin = Order::Begin { ticket: Arc::clone(&ticket), tracks, wall, after: self.after };
                    if self.sink.orders.try_send(begin).is_err() {
                        self.overrun();
                        continue;
                    }
                    self.after = None;
                    self.segment = Some(Writing { ticket, sequence: 0 });
                }
                Output::Fragment(fragment) => self.put(&fragment),
                Output::End => self.end_segment(),
                Output::Lost(cause) => self.after = self.after.or(Some(cause)),
            }
        }
    }

    fn put(&mut self, fragment: &Fragment) {
        let Some(segment) = &mut self.segment else { return };
        let mut bytes = Vec::new();
        segment.sequence += 1;
        let info = match write_fragment(fragment, segment.sequence, 0, &mut bytes) {
            Ok(info) => info,
            Err(error) => {
                tracing::error!(camera.id = self.camera.as_str(), %error, "a fragment can't be recorded");
                return self.abandon(GapCause::Camera);
            }
        };
        let lasts = std::time::Duration::from_nanos(u64::from(info.duration) * 100_000 / 9);
        let since = Instant::now().checked_sub(lasts).unwrap_or_else(Instant::now);
        let ticket = Arc::clone(&segment.ticket);
        let size = bytes.len() as u64;
        let room = self.sink.queued.add(size, QUEUED_BYTES);
        if !room {
            return self.overrun();
        }
        if self.sink.orders.try_send(Order::Write { ticket, piece: Piece { bytes, info, since } }).is_err() {
            self.sink.queued.take(size);
            self.overrun();
        }
    }

    /// The disk is behind.
    fn overrun(&mut self) {
        let told = self.sink.shared.trouble.send_if_modified(|trouble| {
            let new = trouble.is_none();
            trouble.get_or_insert_with(|| "the disk is too slow for what the cameras send".to_owned());
            new
        });
        if told {
            tracing::error!(camera.id = self.camera.as_str(), "the disk is too slow; video is lost");
        }
        self.abandon(GapCause::Disk);
    }

    fn lagged(&mut self, lost: u64) {
        if self.enabled {
            tracing::error!(camera.id = self.camera.as_str(), units = lost, "recording was too slow; video is lost");
            self.end();
            self.after = Some(GapCause::Internal);
        }
    }

    /// Goes on with a new segment at the next key picture.
    fn abandon(&mut self, cause: GapCause) {
        self.end_segment();
        self.assembly.reset();
        self.after = self.after.or(Some(cause));
    }

    /// Does what the settings say now.
    fn obey(&mut self) {
        let policy = Arc::clone(&self.policy.borrow_and_update());
        self.assembly.with_sound(policy.records_sound(&self.camera));
        let enabled = policy.records(&self.camera);
        if self.enabled && !enabled {
            self.end();
            self.after = Some(GapCause::SwitchedOff);
        }
        self.enabled = enabled;
    }

    /// Writes what is left and closes the segment.
    fn end(&mut self) {
        let outputs = self.assembly.end();
        self.put_all(outputs);
        self.end_segment();
    }

    fn end_segment(&mut self) {
        if let Some(segment) = self.segment.take() {
            // When there is no room the next segment ends this one.
            let _ = self.sink.orders.try_send(Order::End { ticket: segment.ticket });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aivms_contract::time::{MediaClock, MediaTime, UtcMillis};
    use gstreamer as gst;
    use tokio::sync::{broadcast, watch};

    use super::*;
    use crate::pipeline::access_unit::{AccessUnit, StreamFormat};
    use crate::pipeline::consumer::StreamRole;
    use crate::recorder::layout::Folders;
    use crate::recorder::{RecordingPolicy, index};

    #[test]
    fn what_overflowed_before_the_end_is_told_and_the_rest_is_taken() {
        gst::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (index, _keeper) = index::index(dir.path().join("index"));
        let shared = Shared::new(index, Folders { fast: dir.path().to_owned(), slow: None }, |_| {});
        let (orders, _orders) = std::sync::mpsc::sync_channel(8);
        let sink = Sink { orders, queued: Arc::default(), shared: Arc::new(shared) };
        let (units, unit_feed) = broadcast::channel(4);
        let audio = broadcast::channel(1).1;
        let clock = watch::channel(MediaClock { zero_at: UtcMillis::from_millis(0) }).1;
        let feed = StreamFeed { role: StreamRole::Main, units: unit_feed, audio, clock };
        let policy = watch::channel(Arc::new(RecordingPolicy::default())).1;
        let assembly = Assembly::new(Duration::from_secs(60), false);
        let mut take = Take::new("gate".parse().unwrap(), sink, policy, feed, assembly);
        let format = Arc::new(StreamFormat::new(gst::Caps::builder("video/x-h264").build()));
        for number in 0..10 {
            let at = MediaTime::from_nanos(number * 40_000_000);
            let buffer = gst::Buffer::from_slice([0, 0, 0, 1, 0x41]);
            let unit = AccessUnit { format: Arc::clone(&format), at, key: false, buffer };
            assert!(units.send(unit).is_ok());
        }
        take.take_rest();
        assert_eq!(take.after, Some(GapCause::Internal));
        assert!(units.is_empty(), "what is still there is taken");
    }
}
