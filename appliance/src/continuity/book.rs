//! The ledgers of all cameras, and the file that keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aivms_appliance_core::continuity::Ledger;
use aivms_appliance_core::schedule::SiteZone;
use aivms_contract::footage::{FootageEvent, Gap};
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

use crate::recorder::Footage;
use crate::state::durable::{self, Checked};

/// What is told of a camera.
type Told = (CameraId, FootageEvent);

/// The ledger of each camera that is or was recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Book {
    ledgers: BTreeMap<CameraId, Ledger>,
}

impl Book {
    /// Reads the file of an earlier run. A damaged one is left out: then a ledger begins where footage ends.
    pub(super) async fn read(data_dir: &Path) -> Self {
        let path = path(data_dir);
        let read = tokio::task::spawn_blocking(move || durable::read_checked(&path)).await;
        match read {
            Ok(Ok(Checked::Sound(ledgers))) => Self { ledgers },
            Ok(Ok(Checked::Absent)) => Self::default(),
            Ok(Ok(Checked::Damaged)) => {
                tracing::warn!("the ledger of gaps is damaged; it begins anew at the end of the footage");
                Self::default()
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the ledger of gaps can't be read; it begins anew at the end of the footage");
                Self::default()
            }
            Err(_) => Self::default(),
        }
    }

    /// Replaces the file, durably.
    pub(super) async fn write(&self, data_dir: &Path) {
        let (path, ledgers) = (path(data_dir), self.ledgers.clone());
        let written = tokio::task::spawn_blocking(move || durable::write_checked(&path, &ledgers)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "the ledger of gaps is not on the disk; it is tried again");
        }
    }

    /// Brings every ledger up to the start of the program at `begun`: what earlier runs recorded, and the time since.
    pub(super) fn resume(&mut self, footage: &Footage, begun: UtcMillis, zone: &SiteZone) -> Vec<Told> {
        let mut told = Vec::new();
        for camera in footage.cameras() {
            let Some(last) = footage.last_recorded(&camera) else { continue };
            let ledger = self.ledgers.entry(camera.clone()).or_insert_with(|| Ledger::new(last, zone));
            for (start, end) in recorded(footage, &camera, ledger.accounted()) {
                if start < last {
                    told.extend(ledger.video(start, end.min(last), zone).into_iter().map(|it| (camera.clone(), it)));
                }
            }
        }
        self.each(|ledger| ledger.started(begun));
        told.extend(self.catch_up(footage, zone));
        told
    }

    /// Takes from the footage what no event told.
    pub(super) fn catch_up(&mut self, footage: &Footage, zone: &SiteZone) -> Vec<Told> {
        let mut told = Vec::new();
        for (camera, ledger) in &mut self.ledgers {
            for (start, end) in recorded(footage, camera, ledger.accounted()) {
                told.extend(ledger.video(start, end, zone).into_iter().map(|it| (camera.clone(), it)));
            }
        }
        told
    }

    /// The ledger of a camera, which begins at `at` when there is none.
    pub(super) fn ledger(&mut self, camera: &CameraId, at: UtcMillis, zone: &SiteZone) -> &mut Ledger {
        self.ledgers.entry(camera.clone()).or_insert_with(|| Ledger::new(at, zone))
    }

    pub(super) fn knows(&self, camera: &CameraId) -> bool {
        self.ledgers.contains_key(camera)
    }

    /// Switches those that are not `configured` off. One without footage is forgotten: nobody will ask for it again.
    pub(super) fn retire(
        &mut self,
        configured: &BTreeSet<CameraId>,
        now: UtcMillis,
        has_footage: impl Fn(&CameraId) -> bool,
    ) -> Vec<Told> {
        let is_gone = |camera: &CameraId| !configured.contains(camera);
        let gone = self.ledgers.iter_mut().filter(|(camera, _)| is_gone(camera));
        gone.for_each(|(_, ledger)| ledger.switched(now, false));
        let forgotten = self.ledgers.extract_if(.., |camera, _| is_gone(camera) && !has_footage(camera));
        let last = |(camera, ledger): (CameraId, Ledger)| {
            let gap = Gap { end: Some(ledger.accounted()), ..ledger.open_gap()? };
            Some((camera, FootageEvent::Gap(gap)))
        };
        forgotten.filter_map(last).collect()
    }

    pub(super) fn ledgers(&self) -> impl Iterator<Item = (&CameraId, &Ledger)> {
        self.ledgers.iter()
    }

    pub(super) fn each(&mut self, change: impl FnMut(&mut Ledger)) {
        self.ledgers.values_mut().for_each(change);
    }

    pub(super) fn tick(&mut self, now: UtcMillis, zone: &SiteZone) -> Vec<Told> {
        let ledgers = self.ledgers.iter_mut();
        let told = |(camera, ledger): (&CameraId, &mut Ledger)| {
            let camera = camera.clone();
            ledger.tick(now, zone).into_iter().map(move |event| (camera.clone(), event)).collect::<Vec<_>>()
        };
        ledgers.flat_map(told).collect()
    }
}

/// The spans of a camera's segments that reach beyond `after`, in order.
fn recorded(footage: &Footage, camera: &CameraId, after: UtcMillis) -> Vec<(UtcMillis, UtcMillis)> {
    let segments = footage.summaries(camera);
    let beyond = segments.iter().filter(|segment| segment.end > after);
    beyond.map(|segment| (segment.start, segment.end)).collect()
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("continuity.json")
}
