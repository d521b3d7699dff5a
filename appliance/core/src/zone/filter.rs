//! What objects must be like: their class, and bounds on confidence, area and aspect.

use aivms_contract::desired::ObjectFilter;
use aivms_contract::geometry::FrameSize;
use aivms_contract::why::{Check, Gate};

use crate::detection::{ClassId, Tracked};

/// Time constant of the means, in seconds of media time.
const MEAN_OVER_S: f64 = 0.5;
/// Detectors give 32-bit numbers: one that prints as 0.7 lies a little beside 0.7 and must not fail for that.
const ROUNDING: f64 = 1e-6;

/// What filters measure of an object.
///
/// For zones and lines these are means over the track's last half second or so of media time: a mean moves by the
/// part `t / (t + 0.5 s)` of the way to what a sight shows, `t` after the sight before. So one bad frame stops nobody,
/// and a mean reaches a bound at the same time whatever the frame rate. Camera-wide filters take each box by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Looks {
    pub(super) class: ClassId,
    confidence: f64,
    /// Part of the frame's area.
    area: f64,
    /// Width divided by height, in pixels.
    aspect: f64,
}

/// The bounds for one class, all filters that name it taken together.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    confidence: f64,
    area: [f64; 2],
    aspect: [f64; 2],
}

/// Which objects a zone, a line or a camera asks for.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    /// By class id; `None` for a class that is not asked for.
    classes: Vec<Option<Bounds>>,
    /// For classes without a label.
    others: Option<Bounds>,
    names_classes: bool,
}

impl Looks {
    /// What one sight shows.
    pub(super) fn of(object: &Tracked, frame: FrameSize) -> Self {
        let (width, height) = (f64::from(object.bbox.width()), f64::from(object.bbox.height()));
        let whole = f64::from(frame.width.max(1)) * f64::from(frame.height.max(1));
        Self {
            class: object.class,
            // A confidence that is no number counts as none.
            confidence: f64::from(object.confidence).max(0.0),
            area: width * height / whole,
            aspect: (width / height.max(f64::MIN_POSITIVE)).clamp(0.01, 100.0),
        }
    }

    /// Moves the means towards what a sight `seconds` later shows.
    pub(super) fn follow(&mut self, shown: Self, seconds: f64) {
        let weight = seconds / (seconds + MEAN_OVER_S);
        let mix = |mean: f64, shown: f64| mean + (shown - mean) * weight;
        *self = Self {
            class: shown.class,
            confidence: mix(self.confidence, shown.confidence),
            area: mix(self.area, shown.area),
            aspect: mix(self.aspect, shown.aspect),
        };
    }
}

impl Bounds {
    const NONE: Self = Self {
        confidence: f64::NEG_INFINITY,
        area: [f64::NEG_INFINITY, f64::INFINITY],
        aspect: [f64::NEG_INFINITY, f64::INFINITY],
    };

    fn narrow(&mut self, filter: &ObjectFilter) {
        let min = |bound: &mut f64, by: Option<f64>| *bound = by.map_or(*bound, |by| by.max(*bound));
        let max = |bound: &mut f64, by: Option<f64>| *bound = by.map_or(*bound, |by| by.min(*bound));
        min(&mut self.confidence, filter.min_confidence.map(Into::into));
        min(&mut self.area[0], filter.min_area.map(Into::into));
        max(&mut self.area[1], filter.max_area.map(Into::into));
        min(&mut self.aspect[0], filter.min_aspect.map(Into::into));
        max(&mut self.aspect[1], filter.max_aspect.map(Into::into));
    }

    /// Whether the object keeps all of them. Without branches: most do.
    fn admit(&self, looks: &Looks) -> bool {
        (looks.confidence >= self.confidence - ROUNDING)
            & (looks.area >= self.area[0] - ROUNDING)
            & (looks.area <= self.area[1] + ROUNDING)
            & (looks.aspect >= self.aspect[0] - ROUNDING)
            & (looks.aspect <= self.aspect[1] + ROUNDING)
    }

    /// The questions that have a bound.
    fn questions(&self, looks: &Looks) -> impl Iterator<Item = Check> {
        let questions = [
            (Gate::Confidence, looks.confidence, self.confidence, true),
            (Gate::MinArea, looks.area, self.area[0], true),
            (Gate::MaxArea, looks.area, self.area[1], false),
            (Gate::MinAspect, looks.aspect, self.aspect[0], true),
            (Gate::MaxAspect, looks.aspect, self.aspect[1], false),
        ];
        questions.into_iter().filter(|(_, _, limit, _)| limit.is_finite()).map(|(gate, value, limit, least)| {
            let passed = if least { value >= limit - ROUNDING } else { value <= limit + ROUNDING };
            check(gate, passed, value, limit)
        })
    }
}

impl Admission {
    /// Takes the classes asked for, empty for all, and the filters; `labels` names classes by their ids.
    pub(super) fn new(classes: &[String], filters: &[ObjectFilter], labels: &[String]) -> Self {
        let bounds = |label: Option<&str>| {
            let asked = classes.is_empty() || label.is_some_and(|label| classes.iter().any(|class| class == label));
            let mut bounds = Bounds::NONE;
            let named = |filter: &&ObjectFilter| label.map_or(filter.classes.is_empty(), |label| filter.is_for(label));
            filters.iter().filter(named).for_each(|filter| bounds.narrow(filter));
            asked.then_some(bounds)
        };
        Self {
            classes: labels.iter().map(|label| bounds(Some(label))).collect(),
            others: bounds(None),
            names_classes: !classes.is_empty(),
        }
    }

    /// Whether the object is asked for.
    pub(super) fn admits(&self, looks: &Looks) -> bool {
        self.bounds(looks.class).is_some_and(|bounds| bounds.admit(looks))
    }

    /// The questions asked of the object, up to the first that is not passed.
    pub(super) fn explain(&self, looks: &Looks, why: &mut Vec<Check>) {
        let bounds = self.bounds(looks.class);
        if self.names_classes {
            why.push(yes_or_no(Gate::Class, bounds.is_some()));
        }
        for check in bounds.into_iter().flat_map(|bounds| bounds.questions(looks)) {
            let passed = check.passed;
            why.push(check);
            if !passed {
                return;
            }
        }
    }

    /// The first question that the object does not pass.
    pub(super) fn stopped_by(&self, looks: &Looks) -> Option<Gate> {
        match self.bounds(looks.class) {
            None => Some(Gate::Class),
            Some(bounds) => bounds.questions(looks).find(|check| !check.passed).map(|check| check.gate),
        }
    }

    fn bounds(&self, class: ClassId) -> Option<&Bounds> {
        self.classes.get(usize::from(class)).unwrap_or(&self.others).as_ref()
    }
}

/// A question about a number.
pub(super) fn check(gate: Gate, passed: bool, value: f64, limit: f64) -> Check {
    Check { gate, passed, value: Some(rounded(value)), limit: Some(rounded(limit)) }
}

/// A question with no number.
pub(super) fn yes_or_no(gate: Gate, passed: bool) -> Check {
    Check { gate, passed, value: None, limit: None }
}

fn rounded(value: f64) -> f64 {
    (value / ROUNDING).round() * ROUNDING
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::geometry::PixelBox;
    use serde_json::json;

    const FRAME: FrameSize = FrameSize { width: 1000, height: 1000 };

    fn looks(class: ClassId, confidence: f32, width: f32, height: f32) -> Looks {
        let bbox = PixelBox::new(0.0, 0.0, width, height).unwrap();
        Looks::of(&Tracked { track: 1, class, confidence, bbox }, FRAME)
    }

    fn admission(classes: &[&str], filters: serde_json::Value) -> Admission {
        let classes: Vec<_> = classes.iter().map(|class| (*class).to_owned()).collect();
        let labels = ["person".to_owned(), "car".to_owned()];
        Admission::new(&classes, &serde_json::from_value::<Vec<_>>(filters).unwrap(), &labels)
    }

    fn stopped_by(admission: &Admission, looks: &Looks) -> Option<Gate> {
        let mut why = vec![];
        admission.explain(looks, &mut why);
        let stopped = why.last().filter(|check| !check.passed).map(|check| check.gate);
        assert_eq!(stopped.is_none(), admission.admits(looks), "{why:?}");
        assert_eq!(stopped, admission.stopped_by(looks));
        assert!(why.iter().rev().skip(1).all(|check| check.passed), "only the last one stops: {why:?}");
        stopped
    }

    #[test]
    fn each_bound_stops_what_lies_beyond_it_and_nothing_that_lies_on_it() {
        let filters =
            json!([{"min_confidence": 0.7, "min_area": 0.02, "max_area": 0.5, "min_aspect": 0.5, "max_aspect": 2.0}]);
        let all = admission(&[], filters);
        assert_eq!(stopped_by(&all, &looks(0, 0.7, 200.0, 100.0)), None, "on three bounds at once");
        assert_eq!(stopped_by(&all, &looks(0, 0.69, 200.0, 200.0)), Some(Gate::Confidence));
        assert_eq!(stopped_by(&all, &looks(0, 0.9, 100.0, 199.0)), Some(Gate::MinArea));
        assert_eq!(stopped_by(&all, &looks(0, 0.9, 800.0, 700.0)), Some(Gate::MaxArea));
        assert_eq!(stopped_by(&all, &looks(0, 0.9, 200.0, 500.0)), Some(Gate::MinAspect));
        assert_eq!(stopped_by(&all, &looks(0, 0.9, 500.0, 200.0)), Some(Gate::MaxAspect));
        assert_eq!(stopped_by(&all, &looks(0, f32::NAN, 200.0, 200.0)), Some(Gate::Confidence));
    }

    #[test]
    fn an_object_must_pass_every_filter_that_names_its_class_and_no_other() {
        let filters = json!([{"min_confidence": 0.5}, {"classes": ["car"], "min_confidence": 0.8}]);
        let both = admission(&[], filters);
        assert_eq!(stopped_by(&both, &looks(0, 0.6, 100.0, 100.0)), None);
        assert_eq!(stopped_by(&both, &looks(1, 0.6, 100.0, 100.0)), Some(Gate::Confidence));
        assert_eq!(stopped_by(&both, &looks(9, 0.6, 100.0, 100.0)), None, "a class without a label");
        assert_eq!(stopped_by(&admission(&["car"], json!([])), &looks(0, 0.9, 100.0, 100.0)), Some(Gate::Class));
        assert_eq!(stopped_by(&admission(&["car"], json!([])), &looks(9, 0.9, 100.0, 100.0)), Some(Gate::Class));
    }

    #[test]
    fn a_mean_reaches_a_bound_at_the_same_time_at_every_frame_rate() {
        // A box whose confidence rises evenly from 0.3 to 0.9 within 6 s passes 0.6 half a second late, always.
        for fps in [30_u16, 10, 5, 2] {
            let mut mean = looks(0, 0.3, 10.0, 10.0);
            let step = 1.0 / f64::from(fps);
            let passed = (1..=6 * fps).find(|frame| {
                let shown = looks(0, 0.3 + 0.1 * f32::from(*frame) / f32::from(fps), 10.0, 10.0);
                mean.follow(shown, step);
                mean.confidence >= 0.6
            });
            let at = f64::from(passed.unwrap()) * step;
            assert!((3.45..=3.5 + step + 0.05).contains(&at), "{fps} fps: {at}");
        }
    }

    #[test]
    fn one_bad_frame_stops_nobody() {
        let filter = admission(&[], json!([{"min_confidence": 0.6}]));
        let mut mean = looks(0, 0.8, 10.0, 10.0);
        mean.follow(looks(0, 0.4, 10.0, 10.0), 0.2);
        assert!(filter.admits(&mean), "{mean:?}");
        (0..5).for_each(|_| mean.follow(looks(0, 0.4, 10.0, 10.0), 0.2));
        assert!(!filter.admits(&mean), "{mean:?}");
    }
}
