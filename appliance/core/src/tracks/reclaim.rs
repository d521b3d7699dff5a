//! Which track an object belongs to when its tracker number does not tell: after the loss of a number, after a swap.
//!
//! A tracker forgets an object that it has not seen for some seconds, and what it finds there later gets a new number;
//! where two objects meet, it may swap theirs. An object at rest is known by its place instead:
//!
//! - A track at rest that is seen on its place keeps its number. One that is not claims, of the objects whose number
//!   is new or belongs to another such track, that on its place which fits best. A part of the place will do for a new
//!   number: the object comes out from behind something. So will a box half off the place when the track was seen
//!   within the last second: it starts to move.
//! - A track on the move keeps its number, whatever it passes. When it is not seen and a track at rest seems to have
//!   jumped to it, the number has been handed on: the jump is the moving one's.
//! - Only objects of one kind claim each other.

use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;

use super::kind::Kinds;
use super::live::LiveTrack;
use crate::detection::Tracked;

/// Time since its last sight in which a track at rest may be found half off its place.
const JUST_SEEN: std::time::Duration = std::time::Duration::from_secs(1);
/// Least overlap with the place then.
const HALF_OFF_IOU: f32 = 0.3;
/// Least overlap of an object with the last box of a moving track whose number was handed on.
const HANDED_ON_IOU: f32 = 0.2;

/// How well an object fits a track; more is better.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    on_place: bool,
    own: bool,
    iou: f32,
}

/// Gives tracks at rest the numbers under which the tracker now knows them. `objects` are those of the frame at `now`,
/// by tracker number; `live` is in order of the tracker's numbers before and after.
pub(super) fn reclaim(
    live: &mut [LiveTrack],
    objects: &[Tracked],
    (now, frame): (MediaTime, FrameSize),
    kinds: &Kinds,
) {
    let find = |track: &LiveTrack| objects.iter().find(|object| Some(object.track) == track.tracker);
    let is_adrift = |track: &LiveTrack| {
        let place = track.still.place(frame);
        track.still.is_resting() && find(track).is_none_or(|object| !place.holds(object.bbox))
    };
    let adrift: Vec<_> = (0..live.len()).filter(|&index| is_adrift(&live[index])).collect();
    if adrift.is_empty() || objects.is_empty() {
        return;
    }
    let owner = |object: &Tracked| live.binary_search_by_key(&Some(object.track), |track| track.tracker).ok();
    let mut fits = vec![];
    for object in objects {
        let owner = owner(object);
        if owner.is_some_and(|owner| !adrift.contains(&owner)) {
            continue;
        }
        let mut claim = |index: usize, fit: Option<Fit>| fits.extend(fit.map(|fit| (fit, index, object.track)));
        let claimants = adrift.iter().filter(|&&index| kinds.are_one(live[index].class.class, object.class));
        claimants
            .for_each(|&index| claim(index, live[index].fit(object, owner.map(|owner| owner == index), now, frame)));
        if owner.is_some() {
            let unseen =
                (0..live.len()).filter(|&index| !live[index].still.is_resting() && find(&live[index]).is_none());
            let unseen = unseen.filter(|&index| kinds.are_one(live[index].class.class, object.class));
            unseen.for_each(|index| claim(index, live[index].handed_on(object, frame)));
        }
    }
    let claimed = choose(fits, live);
    rebind(live, &claimed);
}

/// The best fits first, each track and each object once, as (place in `live`, tracker number).
fn choose(mut fits: Vec<(Fit, usize, u64)>, live: &[LiveTrack]) -> Vec<(usize, u64)> {
    fits.sort_by(|(fit, index, object), (other, other_index, other_object)| {
        let better =
            other.on_place.cmp(&fit.on_place).then(other.iou.total_cmp(&fit.iou)).then(other.own.cmp(&fit.own));
        better.then(live[*index].number.cmp(&live[*other_index].number)).then(object.cmp(other_object))
    });
    let mut chosen: Vec<(usize, u64)> = vec![];
    for (_, index, object) in fits {
        if chosen.iter().all(|&(track, taken)| track != index && taken != object) {
            chosen.push((index, object));
        }
    }
    chosen
}

fn rebind(live: &mut [LiveTrack], claimed: &[(usize, u64)]) {
    if claimed.iter().all(|&(index, object)| live[index].tracker == Some(object)) {
        return;
    }
    for track in &mut *live {
        if claimed.iter().any(|&(_, object)| track.tracker == Some(object)) {
            track.tracker = None;
            // What it was suspected of is over; a later doubt must not be dated back to it.
            track.still.doubt_no_more();
        }
    }
    claimed.iter().for_each(|&(index, object)| live[index].tracker = Some(object));
    live.sort_by_key(|track| track.tracker);
}

impl LiveTrack {
    /// How well `object` fits this track at rest; `owned` says whether its number is this track's, `None` that it is new.
    fn fit(&self, object: &Tracked, owned: Option<bool>, now: MediaTime, frame: FrameSize) -> Option<Fit> {
        let place = self.still.place(frame);
        let fit =
            Fit { on_place: place.holds(object.bbox), own: owned == Some(true), iou: place.bbox.iou(object.bbox) };
        let just_seen = now.since(self.still.seen_at()) <= JUST_SEEN;
        let is_it = match owned {
            _ if fit.on_place => true,
            Some(own) => own && fit.iou > 0.0,
            None => place.has_part(object.bbox) || (just_seen && fit.iou >= HALF_OFF_IOU),
        };
        is_it.then_some(fit)
    }

    /// How well `object` goes on with this track on the move, which the frame does not show under its own number.
    fn handed_on(&self, object: &Tracked, frame: FrameSize) -> Option<Fit> {
        let iou = self.last.object.bbox.iou(object.bbox);
        (iou >= HANDED_ON_IOU && self.last.frame == frame).then_some(Fit { on_place: false, own: false, iou })
    }
}
