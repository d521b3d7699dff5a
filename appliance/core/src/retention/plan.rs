//! The plan: age, bytes per camera, room on the disks, in this order.

use std::collections::BTreeMap;

use aivms_contract::footage::DeletionReason;

use super::pool::{Hold, Item, Pool, free_on};
use super::{Action, Disk, Holdings, Plan, Problem, Tier};

/// Says what goes and what moves, and what could not be reached. Takes as long as sorting the segments.
#[must_use]
pub fn plan(holdings: &Holdings) -> Plan {
    let mut planner = Planner { holdings, pool: Pool::of(holdings), moved: Vec::new(), problems: Vec::new() };
    planner.by_age();
    planner.by_camera_bytes();
    if let Some(slow) = holdings.slow {
        planner.move_to(slow);
    }
    planner.by_free_space();
    planner.tell_problems();
    planner.finish()
}

struct Planner<'a> {
    holdings: &'a Holdings,
    pool: Pool<'a>,
    /// Indices of what moves, oldest first.
    moved: Vec<usize>,
    problems: Vec<Problem>,
}

/// Why a segment should leave the fast disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// The disk needs its room.
    ForRoom,
    /// It is older than what should lie there.
    ForItsAge,
}

impl Planner<'_> {
    fn by_age(&mut self) {
        let Holdings { now, limits, ref cameras, .. } = *self.holdings;
        let is_due = |item: &Item<'_>| {
            let policy = cameras.get(item.camera).map(|footage| footage.policy).unwrap_or_default();
            let kept = policy.keeps(item.segment.shows).max(limits.guaranteed);
            !item.locked && !item.needed && now.since(item.segment.end) > kept
        };
        for index in self.pool.by_age(is_due) {
            self.pool.delete(index, DeletionReason::Age);
        }
    }

    fn by_camera_bytes(&mut self) {
        for (camera, footage) in &self.holdings.cameras {
            let Some(most) = footage.policy.max_bytes else { continue };
            let excess = self.pool.bytes_of(camera).saturating_sub(most);
            if excess > 0 {
                let ranked = self.pool.ranked(|item| item.hold == Hold::None && item.camera == camera);
                self.pool.free(excess, &ranked, DeletionReason::CameraBytes);
            }
        }
    }

    /// Moves the oldest of the fast disk, and makes room for it by deleting what is worth least of all that would lie
    /// on the slow one.
    fn move_to(&mut self, slow: Disk) {
        let mut leaving = self.candidates();
        let bytes = |pool: &Pool<'_>, index: usize| i128::from(pool.items[index].segment.bytes);
        let arriving: i128 = leaving.keys().map(|index| bytes(&self.pool, *index)).sum();
        let mut room = i128::from(self.free_on(Tier::Slow, slow)) - i128::from(floor(slow)) - arriving;
        let mut stays = Vec::new();
        for index in self.pool.ranked(|item| item.hold == Hold::None) {
            if room >= 0 {
                break;
            }
            match (self.pool.items[index].segment.tier, leaving.get(&index)) {
                (Tier::Fast, None) => continue,
                // It may as well stay where it is.
                (Tier::Fast, Some(Leaves::ForItsAge)) => stays.push(index),
                _ => self.pool.delete(index, DeletionReason::FreeSpace),
            }
            leaving.remove(&index);
            room += bytes(&self.pool, index);
        }
        // The last one that went may have left room for some that were to stay.
        while room >= 0
            && let Some(index) = stays.pop().filter(|index| bytes(&self.pool, *index) <= room)
        {
            room -= bytes(&self.pool, index);
            leaving.insert(index, Leaves::ForItsAge);
        }
        // Only what an event needs is left to move: as much of it as there is room for, oldest first.
        let mut moved = self.pool.by_age(|_| true);
        moved.retain(|index| leaving.contains_key(index));
        while room < 0
            && let Some(index) = moved.pop()
        {
            room += bytes(&self.pool, index);
        }
        self.moved = moved;
        for index in &self.moved {
            self.pool.items[*index].fate = Some(Action::MoveToSlow);
        }
    }

    /// What is to leave the fast disk for its age, and the oldest for the room.
    fn candidates(&self) -> BTreeMap<usize, Leaves> {
        let Holdings { now, limits, fast, .. } = *self.holdings;
        let mut missing = self.missing_on(Tier::Fast, fast, floor(fast));
        let may_move = |item: &Item<'_>| item.segment.tier == Tier::Fast && item.hold != Hold::Always && !item.newest;
        let mut candidates = BTreeMap::new();
        for index in self.pool.by_age(may_move) {
            let segment = &self.pool.items[index].segment;
            let is_old = limits.move_after.is_some_and(|after| now.since(segment.end) > after);
            if missing > 0 {
                candidates.insert(index, Leaves::ForRoom);
            } else if is_old {
                candidates.insert(index, Leaves::ForItsAge);
            }
            missing = missing.saturating_sub(segment.bytes);
        }
        candidates
    }

    fn by_free_space(&mut self) {
        let Holdings { fast, limits, .. } = *self.holdings;
        let ranked = self.pool.ranked(free_on(Tier::Fast));
        self.pool.free(self.missing_on(Tier::Fast, fast, floor(fast)), &ranked, DeletionReason::FreeSpace);
        let least = limits.full_bytes.min(floor(fast));
        let ranked = self.pool.ranked(|item| item.hold != Hold::Always && item.segment.tier == Tier::Fast);
        self.pool.free(self.missing_on(Tier::Fast, fast, least), &ranked, DeletionReason::FreeSpace);
    }

    /// What is still too much or missing when all that may go is gone.
    fn tell_problems(&mut self) {
        let Holdings { fast, slow, ref cameras, .. } = *self.holdings;
        for (camera, footage) in cameras {
            let Some(most) = footage.policy.max_bytes else { continue };
            let excess_bytes = self.pool.bytes_of(camera).saturating_sub(most);
            if excess_bytes > 0 {
                self.problems.push(Problem::CameraBytes { camera: camera.clone(), excess_bytes });
            }
        }
        for (tier, disk) in [(Tier::Fast, Some(fast)), (Tier::Slow, slow)] {
            let missing_bytes = disk.map_or(0, |disk| self.missing_on(tier, disk, floor(disk)));
            if missing_bytes > 0 {
                let locked_bytes = self.pool.bytes(|item| item.locked && item.segment.tier == tier);
                self.problems.push(Problem::FreeSpace { tier, missing_bytes, locked_bytes });
            }
        }
    }

    /// Bytes missing on a disk to `wanted` free ones, with all that was decided so far carried out.
    fn missing_on(&self, tier: Tier, disk: Disk, wanted: u64) -> u64 {
        wanted.saturating_sub(self.free_on(tier, disk))
    }

    fn free_on(&self, tier: Tier, disk: Disk) -> u64 {
        let leaving = self.pool.bytes(|item| item.fate.is_some() && item.segment.tier == tier);
        let arrived = self.pool.bytes(|item| item.fate == Some(Action::MoveToSlow) && tier == Tier::Slow);
        disk.free_bytes.saturating_add(leaving).saturating_sub(arrived)
    }

    fn finish(self) -> Plan {
        let Self { pool, moved, problems, .. } = self;
        let order = pool.gone.iter().chain(&moved);
        let steps = order.filter_map(|index| Some(pool.items[*index].step(pool.items[*index].fate?))).collect();
        Plan { steps, problems }
    }
}

/// The floor that holds: half of the disk at most, so that a wrong setting does not empty it.
pub(super) fn floor(disk: Disk) -> u64 {
    disk.floor_bytes.min(disk.total_bytes / 2)
}
