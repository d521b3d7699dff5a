//! One camera's frames in, its messages out: track reports and zone events together.

use std::sync::Arc;

use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::Body;
use aivms_contract::geometry::FrameSize;
use aivms_contract::id::CameraId;
use aivms_contract::snapshot::Pictured;
use aivms_contract::time::{MediaClock, UtcMillis};
use aivms_contract::why::Decision;
use aivms_contract::zone_event::{ZoneEvent, ZoneEventType};

use crate::best_frame::{Best, BestFrames};
use crate::detection::{ClassId, FrameDetections};
use crate::rules::CameraRules;
use crate::tracks::{EndedTrack, Kinds, Report, Session, TrackBook, TrackNames, TrackSettings};
use crate::zone::{Ignored, Move, Rulings, Stopped, ZoneEngine, ZoneSettings, ZoneTransition};

/// How one camera's frames are judged.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AnalysisSettings {
    /// When tracks end and are reported.
    pub tracks: TrackSettings,
    /// How sights are joined to paths.
    pub zones: ZoneSettings,
}

impl AnalysisSettings {
    /// Settings for a camera analysed at `fps` frames per second.
    ///
    /// Below 2 frames per second the default limits are stretched to three intervals before a track is lost and two
    /// before a path is no longer taken as straight: otherwise each frame would end what the last one began.
    #[must_use]
    pub fn for_rate(fps: f64) -> Self {
        let mut settings = Self::default();
        let interval = std::time::Duration::try_from_secs_f64(1.0 / fps).unwrap_or_default();
        settings.tracks.lost_after = settings.tracks.lost_after.max(interval.saturating_mul(3));
        settings.zones.lost_after = settings.tracks.lost_after;
        settings.zones.interpolate_up_to = settings.zones.interpolate_up_to.max(interval.saturating_mul(2));
        settings
    }
}

/// What one call of a [`CameraAnalysis`] has to say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Messages for the outbox, in their order.
    pub bodies: Vec<Body>,
    /// Events that something stopped, each told once; what is made says why in its own message.
    pub decisions: Vec<Decision>,
    /// Pictures of tracks that are worth taking, each track's at most once.
    pub pictures: Vec<BestPicture>,
}

/// Where a track is shown best.
#[derive(Debug, Clone, PartialEq)]
pub struct BestPicture {
    /// The camera.
    pub camera_id: CameraId,
    /// When.
    pub at: UtcMillis,
    /// The object, its box in pixels of `frame`.
    pub object: Pictured,
    /// Size of the analysed picture.
    pub frame: FrameSize,
    /// Whether the track has made a zone event; others are told when they end.
    pub has_event: bool,
}

/// Turns the frames of one camera into messages for the outbox.
///
/// The messages of one call come in this order, which only the input decides: `start` reports, zone events by media
/// time, zone and track, `update` reports, `end` reports. So a track's first message is its `start`, its last its
/// `end`; only `occupied` and `cleared`, which are told when they have lasted, may come after the end of the track they
/// name. A zone event of a track not yet confirmed confirms it.
#[derive(Debug)]
pub struct CameraAnalysis {
    camera: CameraId,
    labels: Arc<[String]>,
    names: TrackNames,
    tracks: TrackBook,
    zones: ZoneEngine,
    ignored: Ignored,
    best: BestFrames,
    /// Of the newest frame; live tracks lie on its timeline.
    clock: Option<MediaClock>,
    frames_ignored: u64,
}

impl CameraAnalysis {
    /// Starts with no tracks. `session` must be new for each run of the program; with the same one, the same frames
    /// give the same bytes. `labels` names the classes of the detector by their ids.
    #[must_use]
    pub fn new(
        camera: CameraId,
        session: &Session,
        labels: impl Into<Arc<[String]>>,
        rules: &CameraRules,
        settings: AnalysisSettings,
    ) -> Self {
        let labels = labels.into();
        Self {
            names: TrackNames::new(&camera, session),
            camera,
            tracks: TrackBook::new(settings.tracks, Kinds::of_labels(&labels)),
            zones: ZoneEngine::new(rules, &labels, settings.zones),
            ignored: Ignored::new(rules, &labels),
            best: BestFrames::default(),
            labels,
            clock: None,
            frames_ignored: 0,
        }
    }

    /// Takes a frame; `clock` is that of the camera's present connection.
    ///
    /// A frame that is not later than the one before is ignored and counted. Before the first frame of another
    /// timeline, call [`CameraAnalysis::on_end`].
    pub fn on_frame(&mut self, frame: &FrameDetections, clock: &MediaClock) -> Findings {
        let sifted = self.ignored.sift(frame);
        let (regarded, left_out) = match &sifted {
            Some((regarded, left_out)) => (regarded, left_out.as_slice()),
            None => (frame, &[][..]),
        };
        let Some(turn) = self.tracks.on_frame(regarded) else {
            self.frames_ignored += 1;
            return Findings::default();
        };
        let clock = *self.clock.insert(*clock);
        for one in left_out {
            if one.is_masked() {
                self.tracks.unrest(one.tracker());
            }
            self.ignored.note(self.tracks.number_of(one.tracker()), frame.pts, one);
        }
        let ended = turn.ended.iter().map(|track| track.number);
        let rulings = self.zones.on_frame((frame.pts, clock), ended, &turn.seen);
        turn.seen.iter().for_each(|(number, sight)| self.best.see(*number, *sight));
        for transition in &rulings.made {
            self.tracks.confirm(transition.track);
            self.best.on_event(transition.track);
        }
        let mut pictures = self.ended_pictures(&turn.ended, clock);
        pictures.extend(self.best.due(frame.pts).into_iter().map(|best| self.picture(best, clock)));
        let (starts, updates): (Vec<_>, _) =
            self.tracks.reports().into_iter().partition(|report| report.phase == TrackPhase::Start);
        let ends = turn.ended.iter().filter_map(|track| track.report);
        let mut bodies: Vec<_> = starts.iter().map(|report| self.detection(report, clock)).collect();
        let stopped = self.ignored.tell(frame.pts);
        let mut decisions = self.decisions(stopped, clock);
        self.say(rulings, clock, &mut bodies, &mut decisions);
        bodies.extend(updates.into_iter().chain(ends).map(|report| self.detection(&report, clock)));
        Findings { bodies, decisions, pictures }
    }

    /// Takes the end of the stream: every track ends where it was last seen. The next frame may come from another
    /// timeline; track numbers and the counts of lines go on.
    pub fn on_end(&mut self) -> Findings {
        let Some(clock) = self.clock.take() else { return Findings::default() };
        let ended = self.tracks.end_all();
        let rulings = self.zones.on_end(ended.iter().map(|track| track.number));
        let (mut bodies, mut decisions) = (vec![], vec![]);
        let pictures = self.ended_pictures(&ended, clock);
        self.end_ignored(clock, &mut decisions);
        self.say(rulings, clock, &mut bodies, &mut decisions);
        bodies.extend(ended.iter().filter_map(|track| track.report).map(|report| self.detection(&report, clock)));
        Findings { bodies, decisions, pictures }
    }

    /// Judges by other rules from the next frame on, without losing tracks.
    ///
    /// Stays in zones with the same id, outline, anchor and classes go on, and so do the counts of lines with the same
    /// id, ends and anchor. Stays in removed or redrawn zones are closed here with an exit for `zone_changed` at the
    /// last sight; who is inside a new outline enters at the next.
    pub fn replace_rules(&mut self, rules: &CameraRules) -> Findings {
        let rulings = self.zones.replace_rules(rules, &self.labels);
        let (mut bodies, mut decisions) = (vec![], vec![]);
        if let Some(clock) = self.clock {
            self.end_ignored(clock, &mut decisions);
            self.say(rulings, clock, &mut bodies, &mut decisions);
        }
        self.ignored = Ignored::new(rules, &self.labels);
        Findings { bodies, decisions, pictures: vec![] }
    }

    /// Frames ignored so far because media time did not go forward.
    #[must_use]
    pub fn frames_ignored(&self) -> u64 {
        self.frames_ignored
    }

    /// The pictures of tracks that have ended: of confirmed ones, and of those with an event.
    fn ended_pictures(&mut self, ended: &[EndedTrack], clock: MediaClock) -> Vec<BestPicture> {
        let best = ended.iter().filter_map(|track| {
            let best = self.best.end(track.number)?;
            (best.has_event || track.report.is_some()).then_some(best)
        });
        let best: Vec<_> = best.collect();
        best.into_iter().map(|best| self.picture(best, clock)).collect()
    }

    fn picture(&self, Best { track, sight, has_event }: Best, clock: MediaClock) -> BestPicture {
        let object = Pictured {
            track_id: self.names.name(track),
            object_class: self.label(sight.object.class),
            confidence: sight.object.confidence,
            bbox: sight.object.bbox,
        };
        BestPicture { camera_id: self.camera.clone(), at: clock.utc(sight.at), object, frame: sight.frame, has_event }
    }

    fn detection(&self, report: &Report, clock: MediaClock) -> Body {
        let object = report.sight.object;
        Body::Detections(Detection {
            camera_id: self.camera.clone(),
            timestamp: clock.utc(report.sight.at),
            object_class: self.label(object.class),
            confidence: object.confidence,
            bbox: object.bbox,
            frame: report.sight.frame,
            track_id: self.names.name(report.number),
            phase: report.phase,
            age_ms: millis(report.age),
            stationary: report.stationary,
        })
    }

    fn end_ignored(&mut self, clock: MediaClock, decisions: &mut Vec<Decision>) {
        let stopped = self.ignored.end();
        decisions.extend(self.decisions(stopped, clock));
    }

    fn say(&self, rulings: Rulings, clock: MediaClock, bodies: &mut Vec<Body>, decisions: &mut Vec<Decision>) {
        bodies.extend(rulings.made.into_iter().map(|transition| self.zone_event(transition, clock)));
        decisions.extend(self.decisions(rulings.stopped, clock));
    }

    fn decisions(&self, stopped: Vec<Stopped>, clock: MediaClock) -> Vec<Decision> {
        let decision = |stopped: Stopped| Decision {
            at: clock.utc(stopped.at),
            camera_id: self.camera.clone(),
            zone_id: stopped.zone_id,
            track_id: self.names.name(stopped.track),
            object_class: self.label(stopped.class),
            event_type: stopped.event,
            made: false,
            why: stopped.why,
        };
        stopped.into_iter().map(decision).collect()
    }

    fn zone_event(&self, transition: ZoneTransition, clock: MediaClock) -> Body {
        let object = transition.shown.object;
        let (mut dwell, mut exit_reason, mut crossed) = (None, None, None);
        let event_type = match transition.what {
            Move::Enter => ZoneEventType::Enter,
            Move::Dwell { after } => {
                dwell = Some(after);
                ZoneEventType::Dwell
            }
            Move::Exit { stay, reason } => {
                (dwell, exit_reason) = (Some(stay), Some(reason));
                ZoneEventType::Exit
            }
            Move::Cross { direction } => {
                crossed = Some(direction);
                ZoneEventType::Cross
            }
            Move::Occupied => ZoneEventType::Occupied,
            Move::Cleared => ZoneEventType::Cleared,
        };
        Body::ZoneEvents(ZoneEvent {
            camera_id: self.camera.clone(),
            zone_id: transition.zone_id,
            timestamp: clock.utc(transition.at),
            event_type,
            object_class: self.label(object.class),
            confidence: object.confidence,
            track_id: self.names.name(transition.track),
            bbox: object.bbox,
            frame: transition.shown.frame,
            dwell_ms: dwell.map(millis),
            exit_reason,
            direction: crossed,
            count: transition.count,
            speed_kmh: transition.speed_kmh,
            why: transition.why,
        })
    }

    fn label(&self, class: ClassId) -> String {
        self.labels.get(usize::from(class)).cloned().unwrap_or_else(|| format!("class_{class}"))
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Tracked;
    use aivms_contract::geometry::{FrameSize, PixelBox};
    use aivms_contract::time::MediaTime;

    #[test]
    fn at_a_rate_slower_than_the_loss_limit_an_object_stays_one_track() {
        let settings = AnalysisSettings::for_rate(0.25);
        let session = "s".parse().unwrap();
        let mut analysis =
            CameraAnalysis::new("yard".parse().unwrap(), &session, vec![], &CameraRules::default(), settings);
        let clock = MediaClock { zero_at: "2026-11-22T12:00:00Z".parse().unwrap() };
        let bbox = PixelBox::new(10.0, 10.0, 50.0, 90.0).unwrap();
        let object = Tracked { track: 4, class: 3, confidence: 0.5, bbox };
        let frame = |i: u64| FrameDetections {
            pts: MediaTime::from_millis(i * 4_000),
            frame: FrameSize { width: 100, height: 100 },
            objects: vec![object],
        };
        let bodies: Vec<_> = (0..4).flat_map(|i| analysis.on_frame(&frame(i), &clock).bodies).collect();
        let said = |body: &Body| match body {
            Body::Detections(detection) => (detection.phase, detection.age_ms, detection.object_class.clone()),
            other => panic!("{other:?}"),
        };
        let class = || "class_3".to_owned();
        let expected = [(TrackPhase::Start, 4_000, class()), (TrackPhase::Update, 12_000, class())];
        assert_eq!(bodies.iter().map(said).collect::<Vec<_>>(), expected);
        assert!(analysis.on_frame(&frame(1), &clock).bodies.is_empty());
        assert_eq!(analysis.frames_ignored(), 1);
        assert_eq!(AnalysisSettings::for_rate(5.0), AnalysisSettings::default());
    }
}
