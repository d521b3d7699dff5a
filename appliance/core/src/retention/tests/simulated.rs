//! Hours and weeks of simulated recording with random sizes, locks, events, disks and clocks.
//!
//! What the plan must keep to is written here a second time, plainly and slowly, and compared after each step.

use proptest::prelude::*;

use super::*;

/// Something that happens between two cleanups.
#[derive(Debug, Clone)]
enum Happening {
    Lock {
        camera: usize,
        back: u64,
        length: u64,
    },
    Unlock {
        camera: usize,
    },
    Need {
        camera: usize,
        back: u64,
        length: u64,
    },
    Acknowledged,
    /// Files of someone else come or go.
    Foreign {
        slow: bool,
        bytes: u64,
    },
    SlowDisk {
        there: bool,
    },
    Clock {
        seconds: i64,
    },
    Policy {
        camera: usize,
        days: [f64; 4],
        max_bytes: Option<u64>,
    },
    Off {
        camera: usize,
    },
}

#[derive(Debug, Clone)]
struct World {
    holdings: Holdings,
    slow: Disk,
    foreign: [u64; 2],
    off: Vec<bool>,
    /// Real time, and how far the wall clock is off.
    real: u64,
    clock_error: i64,
    guard: ClockGuard,
}

/// Random numbers from a seed: a world of thousands of steps as a list would take minutes to shrink.
struct Dice(u64);

impl Dice {
    /// The next number below `below`.
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }

    fn days(&mut self) -> f64 {
        match self.below(3) {
            0 => 0.0,
            1 => self.below(200) as f64 / 100.0,
            _ => self.below(20) as f64,
        }
    }

    fn happening(&mut self, cameras: usize) -> Happening {
        let camera = self.below(cameras as u64) as usize;
        match self.below(17) {
            0..3 => Happening::Lock { camera, back: self.below(3 * DAY), length: 60 + self.below(8 * HOUR) },
            3 => Happening::Unlock { camera },
            4..8 => Happening::Need { camera, back: self.below(6 * HOUR), length: 10 + self.below(2 * HOUR) },
            8..10 => Happening::Acknowledged,
            10..12 => Happening::Foreign { slow: self.below(2) == 0, bytes: self.below(3000) * MIB },
            12 => Happening::SlowDisk { there: self.below(3) > 0 },
            13 => Happening::Clock { seconds: self.below(4_400_000) as i64 - 400_000 },
            14 => Happening::Clock { seconds: 0 },
            15 => {
                let days = [self.days(), self.days(), self.days(), self.days()];
                let max_bytes = (self.below(2) == 0).then(|| (200 + self.below(3800)) * MIB);
                Happening::Policy { camera, days, max_bytes }
            }
            _ => Happening::Off { camera },
        }
    }
}

fn name(number: usize) -> CameraId {
    camera(&format!("c{number}"))
}

impl World {
    fn new(cameras: usize, disks: [u64; 2], floors: [u64; 2], move_after: Option<u64>) -> Self {
        let disk = |total: u64, floor: u64| Disk { total_bytes: total, free_bytes: total, floor_bytes: floor };
        let limits = Limits { move_after: move_after.map(Duration::from_secs), ..Limits::default() };
        let footage = (0..cameras).map(|number| (name(number), CameraFootage::default())).collect();
        let [fast, slow] = [disk(disks[0], floors[0]), disk(disks[1], floors[1])];
        let holdings = Holdings { now: at(0), cameras: footage, fast, slow: None, limits };
        let guard = ClockGuard::default();
        Self { holdings, slow, foreign: [0; 2], off: vec![false; cameras], real: 0, clock_error: 0, guard }
    }

    fn wall(&self) -> UtcMillis {
        UtcMillis::from_millis(at(self.real).as_millis() + self.clock_error * 1000)
    }

    fn happens(&mut self, happening: &Happening) {
        let wall = self.wall();
        let past = |back: u64, length: u64| {
            let start = wall - Duration::from_secs(back);
            Span { start, end: start + Duration::from_secs(length) }
        };
        match *happening {
            Happening::Lock { camera, back, length } => self.of(camera).locks.push(past(back, length)),
            Happening::Unlock { camera } => self.of(camera).locks.clear(),
            Happening::Need { camera, back, length } => self.of(camera).needs.push(past(back, length)),
            Happening::Acknowledged => self.holdings.cameras.values_mut().for_each(|footage| footage.needs.clear()),
            Happening::Foreign { slow, bytes } => {
                let (disk, tier) = if slow { (self.slow, Tier::Slow) } else { (self.holdings.fast, Tier::Fast) };
                self.foreign[usize::from(slow)] = bytes.min(disk.total_bytes - self.used(tier));
            }
            Happening::SlowDisk { there } => self.holdings.slow = there.then_some(self.slow),
            Happening::Clock { seconds } => self.clock_error = seconds,
            Happening::Off { camera } => self.off[camera] = !self.off[camera],
            Happening::Policy { camera, days, max_bytes } => {
                let json = serde_json::json!({"continuous_days": days[0], "motion_days": days[1],
                    "object_days": days[2], "event_days": days[3]});
                let mut policy = policy(&json);
                policy.max_bytes = max_bytes;
                self.of(camera).policy = policy;
            }
        }
    }

    fn of(&mut self, number: usize) -> &mut CameraFootage {
        self.holdings.cameras.get_mut(&name(number)).unwrap()
    }

    /// Records one segment of `length` seconds with each camera, as far as the disk has room.
    fn record(&mut self, length: u64, random: &[u32]) {
        let (start, end) = (self.wall(), self.wall() + Duration::from_secs(length));
        let mut room = self.holdings.fast.total_bytes - self.used(Tier::Fast) - self.foreign[0];
        for (number, random) in random.iter().enumerate().filter(|(number, _)| !self.off[*number]) {
            let bytes = (1 + u64::from(random % 100)) * length * MIB / 120;
            let shows = Shows { motion: random % 3 == 0, object: random % 5 == 0, event: random % 7 == 0 };
            let segment = Stored { start, end, bytes, tier: Tier::Fast, shows };
            let segments = &mut self.holdings.cameras.get_mut(&name(number)).unwrap().segments;
            let place = segments.partition_point(|other| other.start < start);
            if bytes <= room && segments.get(place).is_none_or(|other| other.start != start) {
                segments.insert(place, segment);
                room -= bytes;
            }
        }
        self.real += length;
    }

    fn used(&self, tier: Tier) -> u64 {
        let segments = self.holdings.cameras.values().flat_map(|footage| &footage.segments);
        segments.filter(|segment| segment.tier == tier).map(|segment| segment.bytes).sum()
    }

    fn measure(&mut self) {
        let free = |disk: Disk, used: u64, foreign: u64| disk.total_bytes.saturating_sub(used + foreign);
        let used = [self.used(Tier::Fast), self.used(Tier::Slow)];
        self.holdings.fast.free_bytes = free(self.holdings.fast, used[0], self.foreign[0]);
        if let Some(slow) = &mut self.holdings.slow {
            slow.free_bytes = free(self.slow, used[1], self.foreign[1]);
        }
    }

    /// Plans, checks, carries out, and plans once more.
    fn clean_up(&mut self) -> Result<(), TestCaseError> {
        let wall = self.wall();
        let ends = self.holdings.cameras.values().flat_map(|footage| &footage.segments).map(|segment| segment.end);
        let ends: Vec<_> = ends.collect();
        let newest_until = |until| ends.iter().copied().filter(|end| *end <= until).max();
        self.holdings.now = self.guard.judge(wall, Duration::from_secs(self.real), newest_until, false);
        self.measure();
        let made = plan(&self.holdings);
        prop_assert_eq!(&made, &plan(&self.holdings), "the same input gives the same plan");
        let before = self.holdings.clone();
        for step in &made.steps {
            self.check_step(step)?;
            self.carry_out(step);
        }
        self.measure();
        check_needed(&before, &self.holdings, &made)?;
        self.check_limits(&made)?;
        let again = plan(&self.holdings);
        prop_assert_eq!(again.steps, vec![], "a plan that was carried out leaves nothing to do");
        prop_assert_eq!(again.problems, made.problems);
        Ok(())
    }

    fn check_step(&self, step: &Step) -> Result<(), TestCaseError> {
        let footage = &self.holdings.cameras[&step.camera];
        prop_assert!(footage.segments.contains(&step.segment), "each segment is named once, as it is");
        prop_assert!(!meets(&footage.locks, &step.segment), "locked footage neither goes nor moves");
        match step.action {
            Action::MoveToSlow => prop_assert!(self.holdings.slow.is_some() && step.segment.tier == Tier::Fast),
            Action::Delete(DeletionReason::Age) => {
                let age = self.holdings.now.since(step.segment.end);
                prop_assert!(age > footage.policy.keeps(step.segment.shows));
                prop_assert!(age > self.holdings.limits.guaranteed);
            }
            Action::Delete(_) => {}
        }
        Ok(())
    }

    fn carry_out(&mut self, step: &Step) {
        let segments = &mut self.holdings.cameras.get_mut(&step.camera).unwrap().segments;
        let place = segments.iter().position(|segment| *segment == step.segment).unwrap();
        match step.action {
            Action::Delete(_) => _ = segments.remove(place),
            Action::MoveToSlow => segments[place].tier = Tier::Slow,
        }
    }

    /// Every limit holds, or nothing is left that could go, and that is said.
    fn check_limits(&self, made: &Plan) -> Result<(), TestCaseError> {
        let holdings = &self.holdings;
        for (camera, footage) in &holdings.cameras {
            for segment in footage.segments.iter().filter(|segment| may_go(holdings, footage, segment)) {
                let kept = footage.policy.keeps(segment.shows).max(holdings.limits.guaranteed);
                prop_assert!(holdings.now.since(segment.end) <= kept, "nothing is kept beyond its age");
            }
            let bytes: u64 = footage.segments.iter().map(|segment| segment.bytes).sum();
            if footage.policy.max_bytes.is_some_and(|most| bytes > most) {
                prop_assert!(!footage.segments.iter().any(|segment| may_go(holdings, footage, segment)));
                let is_told =
                    |problem: &Problem| matches!(problem, Problem::CameraBytes { camera: told, .. } if told == camera);
                prop_assert!(made.problems.iter().any(is_told), "it is said");
            }
        }
        for (tier, disk) in [(Tier::Fast, Some(holdings.fast)), (Tier::Slow, holdings.slow)] {
            let Some(disk) = disk else { continue };
            if disk.free_bytes < disk.floor_bytes.min(disk.total_bytes / 2) {
                let left = left(holdings, tier, |footage, segment| may_go(holdings, footage, segment));
                prop_assert_eq!(left, 0, "the floor of the {:?} disk is broken", tier);
                let is_told =
                    |problem: &Problem| matches!(problem, Problem::FreeSpace { tier: told, .. } if *told == tier);
                prop_assert!(made.problems.iter().any(is_told), "it is said");
            }
        }
        Ok(())
    }
}

/// What an event needs goes only from a disk on which nothing else is left that could go, not even of the newest hour
/// but its last ten minutes.
fn check_needed(before: &Holdings, after: &Holdings, made: &Plan) -> Result<(), TestCaseError> {
    for step in made.steps.iter().filter(|step| step.action != Action::MoveToSlow) {
        if meets(&before.cameras[&step.camera].needs, &step.segment) {
            prop_assert_eq!(step.action, Action::Delete(DeletionReason::FreeSpace));
            let others = left(after, step.segment.tier, |footage, segment| {
                let newer = newer(footage, segment);
                !meets(&footage.locks, segment) && !meets(&footage.needs, segment) && newer >= after.limits.last_resort
            });
            prop_assert_eq!(others, 0, "footage that an event needs went before other footage");
        }
    }
    Ok(())
}

fn left(holdings: &Holdings, tier: Tier, which: impl Fn(&CameraFootage, &Stored) -> bool) -> usize {
    let cameras = holdings.cameras.values();
    let on_disk = |footage: &CameraFootage| {
        let of_tier = footage.segments.iter().filter(|segment| segment.tier == tier);
        of_tier.filter(|segment| which(footage, segment)).count()
    };
    cameras.map(on_disk).sum()
}

fn meets(spans: &[Span], segment: &Stored) -> bool {
    spans.iter().any(|span| span.start < segment.end && segment.start < span.end)
}

/// How much footage of its camera is newer than a segment.
fn newer(footage: &CameraFootage, segment: &Stored) -> Duration {
    let newer = footage.segments.iter().filter(|other| other.start > segment.start);
    newer.map(|other| other.end.since(other.start)).sum()
}

fn may_go(holdings: &Holdings, footage: &CameraFootage, segment: &Stored) -> bool {
    let of_now = segment.start <= holdings.now && holdings.now.since(segment.end) < holdings.limits.guaranteed;
    !meets(&footage.locks, segment)
        && !meets(&footage.needs, segment)
        && newer(footage, segment) >= holdings.limits.guaranteed
        && !of_now
}

/// As many cleanups as `steps`, one after each segment of `length` seconds.
fn simulate(length: u64, steps: u64, seed: u64, move_after: Option<u64>) -> Result<(), TestCaseError> {
    let mut dice = Dice(seed);
    let cameras = 1 + dice.below(3) as usize;
    let disks = [0; 2].map(|_: u64| (500 + dice.below(20_000)) * MIB);
    let floors = [0; 2].map(|_: u64| dice.below(2000) * MIB);
    let mut world = World::new(cameras, disks, floors, move_after);
    for _ in 0..steps {
        if dice.below(6) == 0 {
            world.happens(&dice.happening(cameras));
        }
        let random: Vec<_> = (0..cameras).map(|_| dice.below(1 << 30) as u32).collect();
        world.record(length, &random);
        world.clean_up()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// Eight hours in segments of a minute, cleaned up after each.
    #[test]
    fn over_eight_hours_locked_footage_never_goes_and_limits_always_hold(
        seed: u64, move_after in proptest::option::of(600..4 * HOUR),
    ) {
        simulate(60, 8 * 60, seed, move_after)?;
    }

    /// Four weeks in segments of an hour and a half.
    #[test]
    fn over_weeks_locked_footage_never_goes_and_limits_always_hold(
        seed: u64, move_after in proptest::option::of(HOUR..5 * DAY),
    ) {
        simulate(5400, 28 * 16, seed, move_after)?;
    }

    /// However the clock is set, what goes for its age within a day of a jump is no more than a right clock would take.
    #[test]
    fn a_jump_of_the_clock_deletes_nothing_for_its_age_that_real_time_would_not(
        jump in 3600i64..400_000_000, minute in 0u64..23 * 60,
    ) {
        let mut world = World::new(1, [20_000_000 * MIB; 2], [0; 2], None);
        world.of(0).policy = policy(&serde_json::json!({"continuous_days": 2, "motion_days": 2, "object_days": 2,
            "event_days": 2}));
        for _ in 0..40 {
            world.record(HOUR, &[1]);
            world.clean_up()?;
        }
        let recorded = world.of(0).segments.len();
        world.clock_error = jump;
        for _ in 0..=minute / 60 {
            world.record(HOUR, &[1]);
            world.clean_up()?;
        }
        let oldest_by_right = at(world.real) - Duration::from_secs(2 * DAY);
        let due = (0..recorded as u64).filter(|number| at((number + 1) * HOUR) < oldest_by_right).count();
        let gone = recorded - world.of(0).segments.iter().filter(|segment| segment.start < at(40 * HOUR)).count();
        prop_assert!(gone <= due, "{gone} went, {due} were due");
    }
}
