//! What is judged on one camera, taken together.

use aivms_contract::desired::{Camera, Line, Mask, ObjectFilter, Zone};

use crate::schedule::SiteZone;

/// The part of a camera's configuration that may change while its video runs on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CameraRules {
    /// The zones.
    pub zones: Vec<Zone>,
    /// The lines whose crossings are told and counted.
    pub lines: Vec<Line>,
    /// Where objects are ignored altogether.
    pub masks: Vec<Mask>,
    /// What objects must be like to be followed at all.
    pub filters: Vec<ObjectFilter>,
    /// The site's time zone, in which schedules are meant.
    pub time_zone: SiteZone,
}

impl CameraRules {
    /// Takes the rules of a camera on a site in `time_zone`.
    #[must_use]
    pub fn of(camera: &Camera, time_zone: &SiteZone) -> Self {
        Self {
            zones: camera.zones.as_slice().to_vec(),
            lines: camera.lines.as_slice().to_vec(),
            masks: camera.masks.clone(),
            filters: camera.filters.clone(),
            time_zone: time_zone.clone(),
        }
    }

    /// Nothing but zones, on a site in UTC.
    #[must_use]
    pub fn of_zones(zones: &[Zone]) -> Self {
        Self { zones: zones.to_vec(), ..Self::default() }
    }
}
