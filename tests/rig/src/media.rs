//! What one client of a camera is sent, and what goes wrong with it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::clip::Clip;

/// Packets that wait for a client; one that takes none for so long is cut off.
const WAITING: u64 = 4096;
/// Where the time in an RTP packet is.
const RTP_TIME: std::ops::Range<usize> = 4..8;

/// Faults of one of a camera's streams, for all of its clients.
#[derive(Debug, Default)]
pub struct Faults {
    frozen: AtomicBool,
    clip: AtomicUsize,
    /// Added to the times of all packets.
    jump: AtomicU32,
}

impl Faults {
    /// Keeps sessions alive but sends no more pictures, or sends them again.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Relaxed);
    }

    /// Sends another of the stream's clips, from its first picture on: another size, or a burst of bits.
    pub fn select(&self, clip: usize) {
        self.clip.store(clip, Ordering::Relaxed);
    }

    /// Sets the clock that is in the packets forward, or back.
    pub fn jump(&self, seconds: i32) {
        self.jump.fetch_add((seconds.wrapping_mul(90_000)).cast_unsigned(), Ordering::Relaxed);
    }

    /// Puts the faults between a payloader and the network; they begin and end between two pictures.
    pub(crate) fn attach(self: &Arc<Self>, payloader: &gst::Element) {
        let Some(pad) = payloader.static_pad("src") else { return };
        let (faults, picture) = (Arc::clone(self), Mutex::new(Between::default()));
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(kinds, move |_, info| {
            let mut picture = picture.lock().unwrap_or_else(PoisonError::into_inner);
            if picture.ended {
                picture.frozen = faults.frozen.load(Ordering::Relaxed);
                picture.jump = faults.jump.load(Ordering::Relaxed);
            }
            match &mut info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => picture.ended = set_time(buffer.make_mut(), picture.jump),
                Some(gst::PadProbeData::BufferList(list)) => {
                    list.make_mut().foreach_mut(|mut buffer, _| {
                        picture.ended = set_time(buffer.make_mut(), picture.jump);
                        std::ops::ControlFlow::Continue(Some(buffer))
                    });
                }
                _ => {}
            }
            if picture.frozen { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
        });
    }
}

/// What holds for the packets of one picture.
struct Between {
    frozen: bool,
    jump: u32,
    /// Whether the last packet was the last of its picture.
    ended: bool,
}

impl Default for Between {
    fn default() -> Self {
        Self { frozen: false, jump: 0, ended: true }
    }
}

/// Moves the time of a packet, and says whether it is the last one of its picture.
fn set_time(packet: &mut gst::BufferRef, jump: u32) -> bool {
    let Ok(mut map) = packet.map_writable() else { return true };
    let bytes = map.as_mut_slice();
    if let Some(Ok(time)) = bytes.get(RTP_TIME).map(<[u8; 4]>::try_from) {
        bytes[RTP_TIME].copy_from_slice(&u32::from_be_bytes(time).wrapping_add(jump).to_be_bytes());
    }
    bytes.get(1).is_none_or(|flags| flags & 0x80 != 0)
}

/// The launch line that sends clips like `clip`.
pub(crate) fn launch(clip: &Clip) -> String {
    let payloader = match clip.spec.codec {
        crate::Codec::H264 => "rtph264pay",
        crate::Codec::H265 => "rtph265pay",
    };
    let video = format!("( appsrc name=video ! {payloader} name=pay0 pt=96 config-interval=0 ");
    let sound = match clip.spec.audio {
        None => ")",
        Some(crate::Audio::Aac) => "appsrc name=sound ! rtpmp4gpay name=pay1 pt=97 )",
        Some(crate::Audio::Pcma) => "appsrc name=sound ! rtppcmapay name=pay1 pt=8 )",
        Some(crate::Audio::Pcmu) => "appsrc name=sound ! rtppcmupay name=pay1 pt=0 )",
    };
    video + sound
}

/// Sends clips to one client, from the first picture on, until the client has gone.
pub(crate) fn play(media: &gst::Bin, clips: Vec<Arc<Clip>>, faults: Arc<Faults>) {
    let source = |name: &str| media.by_name(name).and_then(|found| found.downcast::<gst_app::AppSrc>().ok());
    let Some(video) = source("video") else { return };
    let sound = source("sound").zip(clips.first().and_then(|clip| clip.sound_caps.clone()));
    for one in std::iter::once(&video).chain(sound.iter().map(|(sound, _)| sound)) {
        one.set_format(gst::Format::Time);
        one.set_is_live(true);
        one.set_property("max-bytes", 0u64);
        one.set_property("max-buffers", WAITING);
    }
    if let Some((sound, caps)) = &sound {
        sound.set_caps(Some(caps));
    }
    let player = Player { video, sound: sound.map(|(sound, _)| sound), clips, faults, began: Instant::now() };
    // Ends when the client's pipeline does.
    std::thread::spawn(move || player.run());
}

struct Player {
    video: gst_app::AppSrc,
    sound: Option<gst_app::AppSrc>,
    clips: Vec<Arc<Clip>>,
    faults: Arc<Faults>,
    began: Instant,
}

impl Player {
    fn run(self) {
        let mut start = Duration::ZERO;
        loop {
            let number = self.faults.clip.load(Ordering::Relaxed);
            let clip = &self.clips[number.min(self.clips.len() - 1)];
            self.video.set_caps(Some(&clip.caps));
            let Some(length) = self.play_once(clip, number, start) else { return };
            start += length;
        }
    }

    /// Sends a clip once, or until another one is selected; says how much of it was sent.
    fn play_once(&self, clip: &Clip, number: usize, start: Duration) -> Option<Duration> {
        let mut packets = clip.sound.iter().enumerate().peekable();
        for picture in &clip.pictures {
            if self.faults.clip.load(Ordering::Relaxed) != number {
                return Some(picture.due);
            }
            while let Some((at, packet)) =
                packets.next_if(|(at, _)| clip.packet * u32::try_from(*at).unwrap_or(0) <= picture.due)
            {
                let due = start + clip.packet * u32::try_from(at).unwrap_or(0);
                if let Some(sound) = &self.sound {
                    // Nobody may listen.
                    let _ = sound.push_buffer(stamped(packet, due, clip.packet));
                }
            }
            let wait = (self.began + start + picture.due).saturating_duration_since(Instant::now());
            std::thread::sleep(wait);
            let length = Duration::from_secs(1) / clip.spec.fps;
            let ended = self.video.current_level_buffers() >= WAITING
                || self.video.push_buffer(stamped(&picture.data, start + picture.pts, length)).is_err();
            if ended {
                return None;
            }
        }
        Some(clip.length())
    }
}

fn stamped(data: &gst::Buffer, pts: Duration, length: Duration) -> gst::Buffer {
    let mut buffer = data.copy();
    if let Some(writable) = buffer.get_mut() {
        let time = |span: Duration| gst::ClockTime::try_from(span).ok();
        writable.set_pts(time(pts));
        writable.set_dts(None);
        writable.set_duration(time(length));
    }
    buffer
}
