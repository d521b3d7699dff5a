//! One of a camera's streams: where it comes from and who takes it.

use aivms_contract::id::CameraId;
use aivms_contract::time::MediaClock;
use tokio::sync::{broadcast, mpsc, watch};

use crate::pipeline::access_unit::{AccessUnit, AudioUnit, audio_fan_out, fan_out};
use crate::pipeline::consumer::{Consumers, StreamEnd, StreamFeed, StreamRole};
use crate::pipeline::source::address::Address;
use crate::pipeline::source::{SoundNotice, SoundOutput, SourceEnd, SourceOutput};

/// A stream as it is to run.
#[derive(Clone)]
pub(super) struct Stream {
    /// Whose.
    pub(super) camera: CameraId,
    /// Which of the camera's.
    pub(super) role: StreamRole,
    /// Where it comes from.
    pub(super) address: Address,
    /// Those who take it beside the analysis.
    pub(super) consumers: Consumers,
    /// Whether they get its sound too, and who tells why not.
    pub(super) sound: Option<SoundNotice>,
    /// Whether it is analysed.
    pub(super) analysed: bool,
}

/// What one connection of a stream gives, to each of those who take it; held from before its first unit on, so that
/// nobody misses one.
pub(super) struct Taps {
    /// For the camera's task.
    pub(super) units: broadcast::Receiver<AccessUnit>,
    /// For the analysis.
    pub(super) analysis: Option<broadcast::Receiver<AccessUnit>>,
    /// For the consumers, in their order.
    consumers: Vec<(broadcast::Receiver<AccessUnit>, broadcast::Receiver<AudioUnit>)>,
}

impl Stream {
    /// Makes the way of one connection's units to all who take them; the reason of its end comes out of the receiver.
    pub(super) fn open_taps(&self) -> (SourceOutput, Taps, mpsc::Receiver<SourceEnd>) {
        let (sender, units) = fan_out();
        let (audio, _) = audio_fan_out();
        let taps = Taps {
            units,
            analysis: self.analysed.then(|| sender.subscribe()),
            consumers: self.consumers.iter().map(|_| (sender.subscribe(), audio.subscribe())).collect(),
        };
        let (output, ends) = SourceOutput::new(sender);
        let output = match &self.sound {
            Some(notice) => output.with_audio(SoundOutput::new(audio, notice.clone())),
            None => output,
        };
        (output, taps, ends)
    }

    /// Hands the consumers a connection that has given its first unit.
    pub(super) fn hand_over(&self, taps: &mut Taps, clock: &watch::Receiver<MediaClock>) {
        for (consumer, (units, audio)) in self.consumers.iter().zip(taps.consumers.drain(..)) {
            let feed = StreamFeed { role: self.role, units, audio, clock: clock.clone() };
            consumer.connected(&self.camera, feed);
        }
    }

    /// Tells the consumers that a connection, or an attempt, has ended.
    pub(super) fn tell_end(&self, end: &StreamEnd) {
        self.consumers.disconnected(&self.camera, self.role, end);
    }
}
