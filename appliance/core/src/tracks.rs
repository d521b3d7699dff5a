//! When a track is worth a message: confirmed, changed, still there, ended.
//!
//! [`TrackBook`] is the one place that decides on media time which tracks live and which have ended, for every engine
//! alike. It gives its own numbers, 1, 2, 3 and so on in order of first sight: trackers reuse theirs after a restart,
//! and some bring an object back after it was lost, which makes a new track here. An object at rest is the exception:
//! it is known by its place and stays one track whatever the tracker calls it (see [`rest`] and [`reclaim`]).

mod aside;
mod kind;
mod live;
mod name;
mod reclaim;
mod rest;

use std::time::Duration;

use aivms_contract::detection::TrackPhase;
use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;

use self::aside::Aside;
pub use self::kind::Kinds;
use self::live::LiveTrack;
pub use self::name::{MAX_SESSION_LEN, Session, SessionError, TrackNames};
pub use self::rest::RestSettings;
use crate::detection::{FrameDetections, Tracked};

/// Most tracks at rest that are remembered without being seen: more than a full car park, and few enough to search.
const MAX_REMEMBERED: usize = 256;

/// One object in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sight {
    /// Media time of the frame.
    pub at: MediaTime,
    /// Size that the box refers to.
    pub frame: FrameSize,
    /// The object.
    pub object: Tracked,
}

/// When tracks end and when they are reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackSettings {
    /// A track not seen for longer than this has ended, unless it is at rest.
    pub lost_after: Duration,
    /// A track is confirmed when it has been seen in this many frames, ...
    pub confirm_sights: u32,
    /// ... or at least twice over this time, whichever comes first.
    pub confirm_after: Duration,
    /// A track has moved when the intersection over union of its box with the last reported one is below this.
    pub moved_iou: f32,
    /// Least time between two reports of a track that moves.
    pub moved_every: Duration,
    /// Time after which a track is reported although it has not moved.
    pub report_every: Duration,
    /// When a track is at rest, and what is different then.
    pub rest: RestSettings,
}

impl Default for TrackSettings {
    fn default() -> Self {
        Self {
            lost_after: Duration::from_secs(2),
            confirm_sights: 3,
            confirm_after: Duration::from_millis(400),
            moved_iou: 0.5,
            moved_every: Duration::from_secs(1),
            report_every: Duration::from_secs(5),
            rest: RestSettings::default(),
        }
    }
}

/// What a frame did to the tracks.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Tracks that have ended, by number.
    pub ended: Vec<EndedTrack>,
    /// The tracks seen, by number, each with the class it is settled on. One at rest is seen exactly where it came to
    /// rest. One that has woken is here twice: with its first sight off its place, which is earlier, and with this one.
    pub seen: Vec<(u64, Sight)>,
}

/// A track that is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EndedTrack {
    /// Its number.
    pub number: u64,
    /// The report owed for its end; `None` when it was never confirmed.
    pub report: Option<Report>,
}

/// Something to say about a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// The track.
    pub number: u64,
    /// Why.
    pub phase: TrackPhase,
    /// The sight to tell of.
    pub sight: Sight,
    /// Time since the first sight.
    pub age: Duration,
    /// Whether it is at rest.
    pub stationary: bool,
}

/// The live tracks of one camera.
#[derive(Debug)]
pub struct TrackBook {
    settings: TrackSettings,
    kinds: Kinds,
    /// In order of the tracker's numbers.
    live: Vec<LiveTrack>,
    opened: u64,
    /// Numbers given to what is left out of the frames.
    aside: Vec<Aside>,
    newest: Option<MediaTime>,
}

impl TrackBook {
    /// An empty book.
    #[must_use]
    pub fn new(settings: TrackSettings, kinds: Kinds) -> Self {
        Self { settings, kinds, live: vec![], opened: 0, aside: vec![], newest: None }
    }

    /// Takes a frame; `None` when it is not later than the newest one, which is then ignored.
    ///
    /// Of two objects with one tracker number the more confident one is taken.
    pub fn on_frame(&mut self, frame: &FrameDetections) -> Option<Turn> {
        if self.newest.is_some_and(|newest| frame.pts <= newest) {
            return None;
        }
        self.newest = Some(frame.pts);
        let settings = self.settings;
        let kinds = std::mem::take(&mut self.kinds);
        let mut ended = self.end_where(|track| track.is_over(frame.pts, &settings, &kinds));
        self.kinds = kinds;
        ended.extend(self.end_forgotten());
        self.part_from_numbers(frame.pts);
        let mut objects = frame.objects.clone();
        objects.sort_by(|a, b| a.track.cmp(&b.track).then(b.confidence.total_cmp(&a.confidence)));
        objects.dedup_by_key(|object| object.track);
        reclaim::reclaim(&mut self.live, &objects, (frame.pts, frame.frame), &self.kinds);
        let mut seen = Vec::with_capacity(objects.len());
        let mut rested = vec![];
        for &object in &objects {
            rested.extend(self.see(Sight { at: frame.pts, frame: frame.frame, object }, &mut seen));
        }
        seen.sort_by_key(|(number, sight)| (*number, sight.at));
        ended.extend(self.end_replaced(&rested));
        ended.sort_by_key(|track| track.number);
        Some(Turn { ended, seen })
    }

    /// Confirms a track for a reason beyond this book: a zone event must not tell of a track nobody has heard of.
    pub fn confirm(&mut self, number: u64) {
        if let Some(track) = self.live.iter_mut().find(|track| track.number == number) {
            track.confirm();
        }
    }

    /// Takes back that a track rests, because its place is hidden by a rule: unseen it then ends like any other.
    pub fn unrest(&mut self, tracker: u64) {
        if let Some(track) = self.live.iter_mut().find(|track| track.tracker == Some(tracker)) {
            track.still.forget();
        }
    }

    /// What is to be said after the newest frame, by track number; call once per frame.
    pub fn reports(&mut self) -> Vec<Report> {
        let (settings, newest) = (self.settings, self.newest);
        let seen = self.live.iter_mut().filter(|track| Some(track.last.at) == newest);
        let mut reports: Vec<_> = seen.filter_map(|track| track.report(&settings)).collect();
        reports.sort_by_key(|report| report.number);
        reports
    }

    /// Ends every track, because the stream has ended. The next frame may come from a new timeline.
    pub fn end_all(&mut self) -> Vec<EndedTrack> {
        self.newest = None;
        self.aside.clear();
        self.end_where(|_| true)
    }

    fn end_where(&mut self, over: impl Fn(&mut LiveTrack) -> bool) -> Vec<EndedTrack> {
        let mut ended: Vec<_> = self.live.extract_if(.., |track| over(track)).map(LiveTrack::end).collect();
        ended.sort_by_key(|track| track.number);
        ended
    }

    /// Takes one object and adds what there is to tell of its track to `seen`; returns the number of a track that has
    /// just come to rest.
    fn see(&mut self, sight: Sight, seen: &mut Vec<(u64, Sight)>) -> Option<u64> {
        let place = self.live.binary_search_by_key(&Some(sight.object.track), |track| track.tracker);
        let place = place.unwrap_or_else(|place| {
            let number = self.new_number(sight.object.track);
            self.live.insert(place, LiveTrack::new(number, sight));
            place
        });
        let track = &mut self.live[place];
        let rested_before = track.still.is_resting();
        track.see(sight, &self.settings, seen);
        (track.still.is_resting() && !rested_before).then_some(track.number)
    }

    /// Takes from tracks at rest that were not seen for too long the number by which the tracker knew them: under it
    /// something else may come.
    fn part_from_numbers(&mut self, now: MediaTime) {
        let mut changed = false;
        for track in self.live.iter_mut().filter(|track| track.tracker.is_some() && track.still.is_resting()) {
            if now.since(track.still.seen_at()) > self.settings.lost_after {
                track.still.doubt_no_more();
                (track.tracker, changed) = (None, true);
            }
        }
        if changed {
            self.live.sort_by_key(|track| track.tracker);
        }
    }

    /// Ends those of too many unseen tracks at rest whose last sight is longest ago.
    fn end_forgotten(&mut self) -> Vec<EndedTrack> {
        let mut unseen: Vec<_> = self
            .live
            .iter()
            .filter(|track| track.tracker.is_none())
            .map(|track| (track.last.at, track.number))
            .collect();
        let Some(too_many) = unseen.len().checked_sub(MAX_REMEMBERED + 1) else { return vec![] };
        unseen.sort_unstable();
        let newest = unseen[too_many];
        self.end_where(|track| track.tracker.is_none() && (track.last.at, track.number) <= newest)
    }

    /// Ends the tracks at rest that are not seen and on whose place another one of their kind has `rested`: they left
    /// while nobody saw it.
    fn end_replaced(&mut self, rested: &[u64]) -> Vec<EndedTrack> {
        let Some(newest) = self.newest.filter(|_| !rested.is_empty()) else { return vec![] };
        let places: Vec<_> =
            self.live.iter().filter(|track| rested.contains(&track.number)).map(LiveTrack::stand).collect();
        let kinds = std::mem::take(&mut self.kinds);
        let ended = self.end_where(|track| {
            let unseen = track.still.is_resting() && track.still.seen_at() < newest && !rested.contains(&track.number);
            unseen
                && places.iter().any(|&(class, place)| {
                    kinds.are_one(class, track.class.class) && track.still.place(place.frame).holds(place.bbox)
                })
        });
        self.kinds = kinds;
        ended
    }
}

#[cfg(test)]
mod tests;
