//! What a camera does not look at: objects in masks, and objects that its own filters leave out.
//!
//! Each box is judged by itself, before anything knows of tracks: what is left out is not reported, confirms no track
//! and enters no zone. The tracker still follows it, so an object that comes out of a mask within the time after which
//! a track is lost is the same track as before.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::desired::{Anchor, Mask};
use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;
use aivms_contract::why::{Check, Gate};
use aivms_contract::zone_event::ZoneEventType;

use super::area::Area;
use super::filter::{Admission, Looks, yes_or_no};
use super::step::Spot;
use super::why::{Cause, Causes, Notes, Stopped};
use crate::detection::{FrameDetections, Tracked};
use crate::rules::CameraRules;
use crate::tracks::Sight;

/// Time after its last sight for which it is remembered what was told of an object that is left out.
const REMEMBER: Duration = Duration::from_secs(60);

/// A camera's masks and camera-wide filters.
#[derive(Debug)]
pub struct Ignored {
    masks: Vec<JudgedMask>,
    admission: Admission,
    has_filters: bool,
    notes: Notes,
    told: BTreeMap<u64, (Causes, MediaTime)>,
}

#[derive(Debug)]
struct JudgedMask {
    area: Area,
    /// Which classes it hides.
    hides: Admission,
}

/// An object that is left out, and the questions asked of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    object: Tracked,
    why: Vec<Check>,
}

impl LeftOut {
    /// The tracker's number of the object.
    #[must_use]
    pub fn tracker(&self) -> u64 {
        self.object.track
    }

    /// Whether a mask hides it, and not a filter.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.why.last().is_some_and(|check| check.gate == Gate::Mask)
    }
}

impl Ignored {
    /// Takes a camera's rules; `labels` names the classes of its detector by their ids.
    #[must_use]
    pub fn new(rules: &CameraRules, labels: &[String]) -> Self {
        let mask = |mask: &Mask| JudgedMask {
            area: Area::new(&mask.polygon),
            hides: Admission::new(&mask.classes, &[], labels),
        };
        Self {
            masks: rules.masks.iter().map(mask).collect(),
            admission: Admission::new(&[], &rules.filters, labels),
            has_filters: !rules.filters.is_empty(),
            notes: Notes::default(),
            told: BTreeMap::new(),
        }
    }

    /// Takes out of a frame what is left out of it; `None` when that is nothing.
    #[must_use]
    pub fn sift(&self, frame: &FrameDetections) -> Option<(FrameDetections, Vec<LeftOut>)> {
        if self.masks.is_empty() && !self.has_filters {
            return None;
        }
        let (mut objects, mut left_out) = (vec![], vec![]);
        for object in &frame.objects {
            match self.question(object, frame.pts, frame.frame) {
                Some(question) => left_out.push(question),
                None => objects.push(*object),
            }
        }
        if left_out.is_empty() {
            return None;
        }
        left_out.sort_by(|a, b| {
            (a.object.track.cmp(&b.object.track)).then(b.object.confidence.total_cmp(&a.object.confidence))
        });
        left_out.dedup_by_key(|out| out.object.track);
        Some((FrameDetections { objects, ..*frame }, left_out))
    }

    /// Notes why an object was left out; `number` is that of its track.
    pub fn note(&mut self, number: u64, at: MediaTime, left_out: &LeftOut) {
        let LeftOut { object, why } = left_out;
        let (causes, seen_at) = self.told.entry(number).or_insert((Causes::default(), at));
        *seen_at = at;
        let Some(gate) = why.last().map(|check| check.gate) else { return };
        let cause = Cause::new(gate, ZoneEventType::Enter);
        if self.notes.asks_for((number, 0), *causes, cause) {
            let event = ZoneEventType::Enter;
            let stopped = Stopped { at, zone_id: None, track: number, class: object.class, event, why: why.clone() };
            self.notes.stop((number, 0), causes, cause, stopped);
        }
    }

    /// What is to be told at `now`.
    pub fn tell(&mut self, now: MediaTime) -> Vec<Stopped> {
        self.told.retain(|_, (_, seen_at)| now.since(*seen_at) <= REMEMBER);
        self.notes.tell(now)
    }

    /// Takes the end of the stream; what is still to be told.
    pub fn end(&mut self) -> Vec<Stopped> {
        self.told.clear();
        self.notes.end_all();
        self.notes.tell(MediaTime::ZERO)
    }

    /// The questions asked of an object that is left out; `None` for one that is not.
    fn question(&self, object: &Tracked, at: MediaTime, frame: FrameSize) -> Option<LeftOut> {
        let looks = Looks::of(object, frame);
        if self.has_filters && !self.admission.admits(&looks) {
            let mut why = vec![];
            self.admission.explain(&looks, &mut why);
            return Some(LeftOut { object: *object, why });
        }
        let foot = Spot::of(&Sight { at, frame, object: *object }).point(Anchor::BottomCenter);
        let hides = |mask: &JudgedMask| mask.hides.admits(&looks) && mask.area.contains(foot);
        if !self.masks.iter().any(hides) {
            return None;
        }
        let mut why = vec![];
        self.admission.explain(&looks, &mut why);
        why.push(yes_or_no(Gate::Mask, false));
        Some(LeftOut { object: *object, why })
    }
}
