//! Decode times for pictures that come with times of showing alone.
//!
//! RTP says when a picture is shown, and pictures come in the order in which they are decoded; with B-pictures that is
//! another order. A file wants decode times that rise. The n-th picture gets the n-th smallest time of showing: then
//! decode times are the times of showing in order, durations are real ones, the first key picture is decoded and shown
//! at the same time, and pictures decoded before others that are shown earlier have offsets above zero, those others
//! offsets below zero. The n-th smallest is known once as many further pictures have come as may overtake each other,
//! so that many are held back: none in a stream without B-pictures.

use std::collections::VecDeque;

/// Most pictures that may overtake one another, in any level of H.264 and H.265.
pub const MAX_REORDER: usize = 16;
/// Pictures held back while it is not known how many overtake each other.
const LEARNING_REORDER: usize = 4;
/// Pictures after which it counts as known.
const LEARNING_PICTURES: usize = 24;

/// A picture with its times in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed<T> {
    /// Decode time; larger than that of the one before.
    pub dts: i64,
    /// Time of showing.
    pub pts: i64,
    /// The picture.
    pub item: T,
}

impl<T> Timed<T> {
    /// Ticks from decoding to showing.
    #[must_use]
    pub fn composition(&self) -> i32 {
        let offset = self.pts.saturating_sub(self.dts);
        i32::try_from(offset).unwrap_or(if offset < 0 { i32::MIN } else { i32::MAX })
    }
}

/// Gives decode times to one connection's pictures. Holds back as many as may still be overtaken.
#[derive(Debug, Clone)]
pub struct DecodeTimes<T> {
    /// As the parameter sets say; learnt where they don't.
    said: Option<usize>,
    depth: usize,
    /// Deepest overtaking seen, and pictures seen, while learning.
    seen: (usize, usize),
    /// Pictures in decoding order that have no decode time yet, with their times of showing.
    held: VecDeque<(i64, T)>,
    /// The times of showing not yet given away as decode times, in order; as many as are held.
    times: VecDeque<i64>,
    last_dts: Option<i64>,
    last_pts: Option<i64>,
}

impl<T> DecodeTimes<T> {
    /// Begins. `reorder` is what [`crate::track::VideoTrack::reorder`] says; without it the stream is observed.
    #[must_use]
    pub fn new(reorder: Option<usize>) -> Self {
        let depth = reorder.unwrap_or(LEARNING_REORDER).min(MAX_REORDER);
        let (held, times) = (VecDeque::new(), VecDeque::new());
        Self { said: reorder, depth, seen: (0, 0), held, times, last_dts: None, last_pts: None }
    }

    /// Takes the next picture in decoding order and appends to `out` those whose decode time is known now.
    /// `refresh` is [`crate::access_unit::VideoPicture::refresh`].
    ///
    /// A time that does not fit (no later than that of a picture that must be shown before) is moved behind it by a
    /// tick; that a clock has jumped is for the caller to see before.
    pub fn push(&mut self, pts: i64, refresh: bool, item: T, out: &mut Vec<Timed<T>>) {
        let in_order = self.said == Some(0) || refresh;
        let pts = match self.last_pts {
            Some(last) if in_order => pts.max(last.saturating_add(1)),
            _ => pts,
        };
        if refresh {
            self.flush(out);
        }
        self.learn(pts, out);
        self.last_pts = Some(self.last_pts.map_or(pts, |last| last.max(pts)));
        self.held.push_back((pts, item));
        let place = self.times.partition_point(|time| *time <= pts);
        self.times.insert(place, pts);
        self.release(self.depth, out);
    }

    /// Gives all that are held back: no more are to come.
    pub fn flush(&mut self, out: &mut Vec<Timed<T>>) {
        self.release(0, out);
    }

    /// How many pictures are held back at most.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    fn release(&mut self, keep: usize, out: &mut Vec<Timed<T>>) {
        while self.held.len() > keep {
            let (Some((pts, item)), Some(time)) = (self.held.pop_front(), self.times.pop_front()) else { return };
            let dts = self.last_dts.map_or(time, |last| time.max(last.saturating_add(1)));
            self.last_dts = Some(dts);
            out.push(Timed { dts, pts, item });
        }
    }

    /// Observes how many pictures this one overtakes on its way to the screen.
    fn learn(&mut self, pts: i64, out: &mut Vec<Timed<T>>) {
        let overtaken = self.times.len() - self.times.partition_point(|time| *time <= pts);
        let late = usize::from(self.last_dts.is_some_and(|last| pts <= last));
        let found = (overtaken + late).min(MAX_REORDER);
        if self.said.is_some() {
            self.depth = self.depth.max(if self.said == Some(0) { 0 } else { found });
            return;
        }
        self.seen = (self.seen.0.max(found), self.seen.1 + 1);
        if self.seen.1 >= LEARNING_PICTURES {
            self.depth = self.seen.0.max(if self.seen.1 > LEARNING_PICTURES { self.depth } else { 0 });
            self.release(self.depth, out);
        } else {
            self.depth = self.depth.max(self.seen.0);
        }
    }
}
