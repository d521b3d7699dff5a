//! Tags footage with what the analysis saw in it.

use std::collections::VecDeque;
use std::time::Duration;

use aivms_appliance_core::retention::Span;
use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::Body;
use aivms_contract::id::CameraId;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::needs::Surroundings;
use crate::clock;
use crate::recorder::{Footage, Tags};

/// Sights on their way to the tags: some seconds of many busy cameras. When full, one is dropped with a warning: a
/// track is told again, and what an unacknowledged event needs does not hang on tags.
const SIGHTS: usize = 1024;
/// Footage kept around a sight of an object.
const AROUND: Duration = Duration::from_secs(5);
/// Longest part of an ended track that is tagged again as a whole.
const LONGEST_TRACK: Duration = Duration::from_secs(600);
/// A span that reaches into the future is tagged again this long after it is over, when its segment exists.
const SETTLED: Duration = Duration::from_secs(5);
/// Most spans waiting to be tagged again; beyond it the oldest is not.
const MAX_WAITING: usize = 10_000;

/// Something that was seen.
#[derive(Debug)]
struct Sight {
    camera: CameraId,
    span: Span,
    tags: Tags,
}

/// Where sights are handed in.
#[derive(Debug, Clone)]
pub struct Tagger {
    surroundings: Surroundings,
    sights: mpsc::Sender<Sight>,
}

/// Makes the way from those who see to the tags, and the work that must be run; it ends with the last [`Tagger`]. An
/// event tags its `surroundings`.
pub fn tagger(footage: Footage, surroundings: Surroundings) -> (Tagger, impl Future<Output = ()> + Send + 'static) {
    let (sights, seen) = mpsc::channel(SIGHTS);
    (Tagger { surroundings, sights }, tag(footage, seen))
}

impl Tagger {
    /// Takes note of a message on its way to the cloud. Never waits.
    pub fn see(&self, body: &Body) {
        let sight = match body {
            Body::Detections(detection) => Some(sight_of(detection)),
            other => self.surroundings.needed_by(other).map(|(camera, span)| Sight {
                camera,
                span,
                tags: Tags::EVENT | Tags::OBJECT | Tags::MOTION,
            }),
        };
        if let Some(sight) = sight
            && self.sights.try_send(sight).is_err()
        {
            tracing::warn!("footage was not tagged with something that was seen: too much is seen at once");
        }
    }
}

fn sight_of(detection: &Detection) -> Sight {
    let at = detection.timestamp;
    let lasted = match detection.phase {
        // What stands there for days is no reason to keep all those days.
        TrackPhase::End if !detection.stationary => Duration::from_millis(detection.age_ms).min(LONGEST_TRACK),
        _ => Duration::ZERO,
    };
    let span = Span { start: at - lasted.max(AROUND), end: at + AROUND };
    Sight { camera: detection.camera_id.clone(), span, tags: Tags::OBJECT | Tags::MOTION }
}

async fn tag(footage: Footage, mut seen: mpsc::Receiver<Sight>) {
    let mut waiting = VecDeque::<Sight>::new();
    let mut ticks = interval(SETTLED);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            sight = seen.recv() => {
                let Some(sight) = sight else { return };
                footage.tag(&sight.camera, sight.span.start, sight.span.end, sight.tags);
                if waiting.len() >= MAX_WAITING {
                    waiting.pop_front();
                }
                waiting.push_back(sight);
            }
            _ = ticks.tick() => {
                let now = clock::now();
                // They end nearly in the order in which they came.
                while waiting.front().is_some_and(|sight| now.since(sight.span.end) > SETTLED) {
                    let Some(sight) = waiting.pop_front() else { break };
                    footage.tag(&sight.camera, sight.span.start, sight.span.end, sight.tags);
                }
            }
        }
    }
}
