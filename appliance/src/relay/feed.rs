//! One connection's units since the last key picture.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aivms_contract::time::MediaClock;
use aivms_footage::track::VideoCodec;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use crate::pipeline::access_unit::{AccessUnit, StreamFormat};
use crate::pipeline::consumer::StreamRole;

/// Most bytes kept of a camera's stream. One with more between two key pictures is kept from none: who looks then
/// waits for the next.
const MAX_BYTES: usize = 3 * 1024 * 1024;
/// Most units kept, for the same: twenty seconds at 25 pictures per second.
const MAX_UNITS: usize = 500;
/// Units on their way to one who looks; further behind, it goes on at the next key picture.
const FRESH: usize = 256;

/// One connection's video for those who look.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) role: StreamRole,
    clock: watch::Receiver<MediaClock>,
    kept: Mutex<Kept>,
    fresh: broadcast::Sender<AccessUnit>,
}

#[derive(Debug, Default)]
struct Kept {
    format: Option<Arc<StreamFormat>>,
    units: VecDeque<AccessUnit>,
    bytes: usize,
}

/// What one who looks gets: what is kept, and everything after it.
#[derive(Debug)]
pub(super) struct FeedTap {
    pub(super) kept: Vec<AccessUnit>,
    pub(super) fresh: broadcast::Receiver<AccessUnit>,
    pub(super) clock: watch::Receiver<MediaClock>,
}

/// Keeps a feed up to date until its connection ends.
pub(super) async fn keep(feed: Arc<Feed>, mut units: broadcast::Receiver<AccessUnit>) {
    loop {
        match units.recv().await {
            Ok(unit) => feed.take(unit),
            // There is a hole in it now.
            Err(RecvError::Lagged(_)) => feed.kept().empty(),
            Err(RecvError::Closed) => return,
        }
    }
}

impl Feed {
    pub(super) fn new(role: StreamRole, clock: watch::Receiver<MediaClock>) -> Self {
        Self { role, clock, kept: Mutex::default(), fresh: broadcast::channel(FRESH).0 }
    }

    /// How its pictures are encoded, once there is one; `None` also for a codec that browsers know nothing of.
    pub(super) fn codec(&self) -> Option<VideoCodec> {
        VideoCodec::of_media_type(self.kept().format.as_ref()?.media_type())
    }

    /// What people call the codec of its pictures, if they can't be shown without encoding them anew.
    pub(super) fn unplayable(&self) -> Option<String> {
        let format = self.kept().format.clone()?;
        VideoCodec::of_media_type(format.media_type()).is_none().then(|| format.codec().to_owned())
    }

    /// Begins to look.
    pub(super) fn tap(&self) -> FeedTap {
        let kept = self.kept();
        // Under the lock, so that no unit falls between what is kept and what is fresh.
        let fresh = self.fresh.subscribe();
        FeedTap { kept: kept.units.iter().cloned().collect(), fresh, clock: self.clock.clone() }
    }

    fn take(&self, unit: AccessUnit) {
        let mut kept = self.kept();
        kept.push(unit.clone());
        // Nobody looks most of the time.
        let _ = self.fresh.send(unit);
    }

    /// A panic elsewhere never makes it unusable: every change is complete.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, unit: AccessUnit) {
        if !self.format.as_ref().is_some_and(|format| Arc::ptr_eq(format, &unit.format)) {
            self.format = Some(Arc::clone(&unit.format));
        }
        if unit.key {
            self.empty();
        } else if self.units.is_empty() {
            return;
        }
        self.bytes += unit.buffer.size();
        self.units.push_back(unit);
        if self.bytes > MAX_BYTES || self.units.len() > MAX_UNITS {
            self.empty();
        }
    }

    fn empty(&mut self) {
        self.units.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::access_unit::fan_out;
    use aivms_contract::time::{MediaTime, UtcMillis};
    use gstreamer as gst;

    fn unit(number: u64, key: bool, bytes: usize) -> AccessUnit {
        gst::init().unwrap();
        AccessUnit {
            format: Arc::new(StreamFormat::new("video/x-h264".parse().unwrap())),
            at: MediaTime::from_millis(number * 40),
            key,
            buffer: gst::Buffer::from_slice(vec![0; bytes]),
        }
    }

    fn feed() -> Feed {
        let clock = MediaClock { zero_at: UtcMillis::from_millis(0) };
        Feed::new(StreamRole::Main, watch::channel(clock).1)
    }

    fn numbers(units: &[AccessUnit]) -> Vec<u64> {
        units.iter().map(|unit| unit.at.as_nanos() / 40_000_000).collect()
    }

    #[tokio::test]
    async fn whoever_looks_begins_with_the_last_key_picture_and_misses_nothing_after_it() {
        let (feed, (sender, units)) = (Arc::new(feed()), fan_out());
        for (number, key) in [(0, false), (1, true), (2, false), (3, true), (4, false)] {
            sender.send(unit(number, key, 10)).unwrap();
        }
        let keeping = tokio::spawn(keep(Arc::clone(&feed), units));
        tokio::time::timeout(std::time::Duration::from_secs(5), async {
            while numbers(&feed.tap().kept) != [3, 4] {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the last key picture and what follows it are kept");
        let mut tap = feed.tap();
        sender.send(unit(5, false, 10)).unwrap();
        assert_eq!(numbers(&[tap.fresh.recv().await.unwrap()]), [5]);
        drop(sender);
        keeping.await.unwrap();
    }

    #[test]
    fn what_is_kept_is_bounded_whatever_the_camera_sends() {
        let feed = feed();
        feed.take(unit(0, true, 10));
        for number in 1..2 * MAX_UNITS as u64 {
            feed.take(unit(number, false, 10));
            assert!(feed.kept().units.len() <= MAX_UNITS);
        }
        assert!(feed.tap().kept.is_empty(), "half a group of pictures helps nobody");
        feed.take(unit(0, true, MAX_BYTES));
        feed.take(unit(1, false, 1));
        let kept = feed.kept();
        assert_eq!((kept.units.len(), kept.bytes), (0, 0));
    }
}
