//! Which classes a detector takes for each other.

use crate::detection::ClassId;

/// Labels of what a detector easily takes for each other: the same van is a car by day and a truck by night.
const VEHICLES: [&str; 5] = ["car", "truck", "bus", "van", "suv"];

/// Labels of what walks away by itself: out of sight it can't be taken to be still there.
const WALKERS: [&str; 11] =
    ["person", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"];

/// Groups the classes of a model by what one object may be called from frame to frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Whether each class is a vehicle on four wheels or more, by class id.
    vehicles: Vec<bool>,
    /// Whether each class walks away by itself, by class id.
    walkers: Vec<bool>,
}

impl Kinds {
    /// The kinds of a model's classes. `labels` are in order of the class ids.
    #[must_use]
    pub fn of_labels(labels: &[String]) -> Self {
        let among = |names: &[&str]| {
            let is_one = |label: &String| names.contains(&label.to_ascii_lowercase().as_str());
            labels.iter().map(is_one).collect()
        };
        Self { vehicles: among(&VEHICLES), walkers: among(&WALKERS) }
    }

    /// Whether an object of this class that is out of sight may have walked away: a person who stood for a minute and
    /// is then hidden is lost like one who walks, and whoever stands there next is somebody else.
    #[must_use]
    pub fn walks(&self, class: ClassId) -> bool {
        self.walkers.get(usize::from(class)).is_some_and(|&walks| walks)
    }

    /// Whether one object may be called both.
    #[must_use]
    pub fn are_one(&self, a: ClassId, b: ClassId) -> bool {
        let is_vehicle = |class: ClassId| self.vehicles.get(usize::from(class)).is_some_and(|&vehicle| vehicle);
        a == b || (is_vehicle(a) && is_vehicle(b))
    }
}
