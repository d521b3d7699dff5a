//! When a track is worth a message: confirmed, changed, still there, ended.
//!
//! [`TrackBook`] is the one place that decides on media time which tracks live and which have ended, for every engine
//! alike. It gives its own numbers, 1, 2, 3 and so on in order of first sight: trackers reuse theirs after a restart,
//! and some bring an object back after it was lost, which makes a new track here.

mod name;

use std::time::Duration;

use aivms_contract::detection::TrackPhase;
use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;

pub use self::name::{MAX_SESSION_LEN, Session, SessionError, TrackNames};
use crate::detection::{ClassId, FrameDetections, Tracked};

/// Most evidence a track gathers for its class, in summed confidence: about ten contrary sights then rename it.
const MOST_EVIDENCE: f32 = 5.0;

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
    /// A track not seen for longer than this has ended.
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
        }
    }
}

/// What a frame did to the tracks.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Tracks that have ended, by number.
    pub ended: Vec<EndedTrack>,
    /// The tracks seen, by number, each with the class it is settled on.
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
}

/// The live tracks of one camera.
#[derive(Debug)]
pub struct TrackBook {
    settings: TrackSettings,
    /// In order of the tracker's numbers.
    live: Vec<LiveTrack>,
    opened: u64,
    newest: Option<MediaTime>,
}

#[derive(Debug)]
struct LiveTrack {
    tracker: u64,
    number: u64,
    first_at: MediaTime,
    last: Sight,
    sights: u32,
    class: ClassVote,
    reporting: Reporting,
}

#[derive(Debug, Clone, Copy)]
enum Reporting {
    /// Not seen often enough to be real.
    Unconfirmed,
    /// Real, and its `Start` is owed.
    Owed,
    /// Last reported with this sight.
    Reported(Sight),
}

/// What a track is, by weight of evidence, so that one odd frame does not rename it.
#[derive(Debug, Clone, Copy)]
struct ClassVote {
    class: ClassId,
    evidence: f32,
}

impl TrackBook {
    /// An empty book.
    #[must_use]
    pub fn new(settings: TrackSettings) -> Self {
        Self { settings, live: vec![], opened: 0, newest: None }
    }

    /// Takes a frame; `None` when it is not later than the newest one, which is then ignored.
    ///
    /// Of two objects with one tracker number the more confident one is taken.
    pub fn on_frame(&mut self, frame: &FrameDetections) -> Option<Turn> {
        if self.newest.is_some_and(|newest| frame.pts <= newest) {
            return None;
        }
        self.newest = Some(frame.pts);
        let lost_after = self.settings.lost_after;
        let ended = self.end_where(|track| frame.pts.since(track.last.at) > lost_after);
        let mut objects = frame.objects.clone();
        objects.sort_by(|a, b| a.track.cmp(&b.track).then(b.confidence.total_cmp(&a.confidence)));
        objects.dedup_by_key(|object| object.track);
        let mut seen: Vec<_> =
            objects.iter().map(|&object| self.see(Sight { at: frame.pts, frame: frame.frame, object })).collect();
        seen.sort_by_key(|(number, _)| *number);
        Some(Turn { ended, seen })
    }

    /// Confirms a track for a reason beyond this book: a zone event must not tell of a track nobody has heard of.
    pub fn confirm(&mut self, number: u64) {
        if let Some(track) = self.live.iter_mut().find(|track| track.number == number) {
            track.confirm();
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
        self.end_where(|_| true)
    }

    fn end_where(&mut self, over: impl Fn(&LiveTrack) -> bool) -> Vec<EndedTrack> {
        let mut ended: Vec<_> = self.live.extract_if(.., |track| over(track)).map(LiveTrack::end).collect();
        ended.sort_by_key(|track| track.number);
        ended
    }

    fn see(&mut self, sight: Sight) -> (u64, Sight) {
        let place = self.live.binary_search_by_key(&sight.object.track, |track| track.tracker);
        let place = place.unwrap_or_else(|place| {
            self.opened += 1;
            self.live.insert(place, LiveTrack::new(self.opened, sight));
            place
        });
        let track = &mut self.live[place];
        track.see(sight, &self.settings);
        (track.number, track.last)
    }
}

impl LiveTrack {
    fn new(number: u64, sight: Sight) -> Self {
        Self {
            tracker: sight.object.track,
            number,
            first_at: sight.at,
            last: sight,
            sights: 0,
            class: ClassVote { class: sight.object.class, evidence: 0.0 },
            reporting: Reporting::Unconfirmed,
        }
    }

    fn see(&mut self, mut sight: Sight, settings: &TrackSettings) {
        self.class.hear(sight.object.class, sight.object.confidence);
        sight.object.class = self.class.class;
        self.last = sight;
        self.sights = self.sights.saturating_add(1);
        let long_enough = self.sights >= 2 && self.age() >= settings.confirm_after;
        if self.sights >= settings.confirm_sights || long_enough {
            self.confirm();
        }
    }

    fn confirm(&mut self) {
        if matches!(self.reporting, Reporting::Unconfirmed) {
            self.reporting = Reporting::Owed;
        }
    }

    fn report(&mut self, settings: &TrackSettings) -> Option<Report> {
        let phase = match self.reporting {
            Reporting::Unconfirmed => return None,
            Reporting::Owed => TrackPhase::Start,
            Reporting::Reported(last) => {
                let since = self.last.at.since(last.at);
                let moved =
                    self.last.frame != last.frame || self.last.object.bbox.iou(last.object.bbox) < settings.moved_iou;
                let due = since >= settings.report_every || (moved && since >= settings.moved_every);
                due.then_some(TrackPhase::Update)?
            }
        };
        self.reporting = Reporting::Reported(self.last);
        Some(self.say(phase))
    }

    fn end(self) -> EndedTrack {
        let heard_of = matches!(self.reporting, Reporting::Reported(_));
        EndedTrack { number: self.number, report: heard_of.then(|| self.say(TrackPhase::End)) }
    }

    fn say(&self, phase: TrackPhase) -> Report {
        Report { number: self.number, phase, sight: self.last, age: self.age() }
    }

    fn age(&self) -> Duration {
        self.last.at.since(self.first_at)
    }
}

impl ClassVote {
    fn hear(&mut self, class: ClassId, confidence: f32) {
        let weight = confidence.max(0.0);
        if class == self.class {
            self.evidence = (self.evidence + weight).min(MOST_EVIDENCE);
        } else if weight > self.evidence {
            *self = Self { class, evidence: weight - self.evidence };
        } else {
            self.evidence -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::geometry::PixelBox;

    const FRAME: FrameSize = FrameSize { width: 1000, height: 1000 };

    fn object(track: u64, x: f32) -> Tracked {
        let bbox = PixelBox::new(x, 100.0, x + 100.0, 300.0).unwrap();
        Tracked { track, class: 0, confidence: 0.8, bbox }
    }

    fn frame(at_ms: u64, objects: Vec<Tracked>) -> FrameDetections {
        FrameDetections { pts: MediaTime::from_millis(at_ms), frame: FRAME, objects }
    }

    /// Plays frames and gives each report as (milliseconds of the frame, track number, phase).
    fn play(settings: TrackSettings, frames: Vec<FrameDetections>) -> Vec<(u64, u64, TrackPhase)> {
        let mut book = TrackBook::new(settings);
        let mut said = vec![];
        for frame in frames {
            let Some(turn) = book.on_frame(&frame) else { continue };
            let ends = turn.ended.into_iter().filter_map(|track| track.report);
            let at = frame.pts.as_nanos() / 1_000_000;
            said.extend(book.reports().into_iter().chain(ends).map(|report| (at, report.number, report.phase)));
        }
        said
    }

    #[test]
    fn a_parked_object_is_reported_at_each_interval_and_a_moving_one_as_it_moves() {
        let settings = TrackSettings::default();
        let parked = (0..=60).map(|i| frame(i * 200, vec![object(9, 0.0)])).collect();
        let expected = [(400, TrackPhase::Start), (5400, TrackPhase::Update), (10_400, TrackPhase::Update)];
        assert_eq!(play(settings, parked), expected.map(|(at, phase)| (at, 1, phase)));
        let moving = (0..=12_u8).map(|i| frame(u64::from(i) * 200, vec![object(9, f32::from(i) * 20.0)])).collect();
        let expected = [(400, TrackPhase::Start), (1400, TrackPhase::Update), (2400, TrackPhase::Update)];
        assert_eq!(play(settings, moving), expected.map(|(at, phase)| (at, 1, phase)));
    }

    #[test]
    fn a_flicker_is_never_reported() {
        let mut frames = vec![frame(0, vec![object(1, 0.0)]), frame(200, vec![object(1, 0.0)])];
        frames.extend((2..30).map(|i| frame(i * 200, vec![])));
        assert_eq!(play(TrackSettings::default(), frames), []);
    }

    #[test]
    fn at_one_frame_per_second_two_sights_confirm() {
        let frames = (0..2).map(|i| frame(i * 1000, vec![object(1, 0.0)])).collect();
        assert_eq!(play(TrackSettings::default(), frames), [(1000, 1, TrackPhase::Start)]);
    }

    #[test]
    fn a_track_ends_when_it_was_not_seen_for_longer_than_the_limit_and_comes_back_as_a_new_one() {
        let mut frames: Vec<_> = (0..3).map(|i| frame(i * 200, vec![object(7, 0.0)])).collect();
        frames.push(frame(2400, vec![]));
        frames.push(frame(2401, vec![object(7, 0.0)]));
        frames.extend((0..3).map(|i| frame(2600 + i * 200, vec![object(7, 0.0)])));
        let expected = [(400, 1, TrackPhase::Start), (2401, 1, TrackPhase::End), (2800, 2, TrackPhase::Start)];
        assert_eq!(play(TrackSettings::default(), frames), expected);
    }

    #[test]
    fn frames_that_go_back_or_stand_still_in_time_are_ignored() {
        let mut book = TrackBook::new(TrackSettings::default());
        assert!(book.on_frame(&frame(1000, vec![object(1, 0.0)])).is_some());
        assert!(book.on_frame(&frame(1000, vec![object(2, 0.0)])).is_none());
        assert!(book.on_frame(&frame(0, vec![])).is_none());
        assert_eq!(book.end_all().len(), 1);
        assert!(book.on_frame(&frame(0, vec![])).is_some(), "a new timeline may start after the end");
    }

    #[test]
    fn numbers_do_not_depend_on_the_order_of_objects_in_a_frame() {
        let mut objects = vec![object(30, 0.0), object(10, 200.0), object(20, 400.0), object(10, 600.0)];
        objects[3].confidence = 0.1;
        let one = TrackBook::new(TrackSettings::default()).on_frame(&frame(0, objects.clone()));
        objects.reverse();
        let two = TrackBook::new(TrackSettings::default()).on_frame(&frame(0, objects));
        assert_eq!(one, two);
        let seen: Vec<_> = one.unwrap().seen.iter().map(|(number, sight)| (*number, sight.object.track)).collect();
        assert_eq!(seen, [(1, 10), (2, 20), (3, 30)]);
    }

    #[test]
    fn one_odd_frame_does_not_rename_a_track_but_lasting_evidence_does() {
        let mut vote = ClassVote { class: 2, evidence: 0.0 };
        (0..50).for_each(|_| vote.hear(2, 0.8));
        vote.hear(7, 0.99);
        assert_eq!(vote.class, 2);
        (0..10).for_each(|_| vote.hear(7, 0.8));
        assert_eq!(vote.class, 7);
    }
}
