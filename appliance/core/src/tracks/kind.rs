//! Which classes a detector takes for each other.

use crate::detection::ClassId;

/// Labels of what a detector easily takes for each other: the same van is a car by day and a truck by night.
const VEHICLES: [&str; 5] = ["car", "truck", "bus", "van", "suv"];

/// Groups the classes of a model by what one object may be called from frame to frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Whether each class is a vehicle on four wheels or more, by class id.
    vehicles: Vec<bool>,
}

impl Kinds {
    /// The kinds of a model's classes. `labels` are in order of the class ids.
    #[must_use]
    pub fn of_labels(labels: &[String]) -> Self {
        let is_vehicle = |label: &String| VEHICLES.contains(&label.to_ascii_lowercase().as_str());
        Self { vehicles: labels.iter().map(is_vehicle).collect() }
    }

    /// Whether one object may be called both.
    #[must_use]
    pub fn are_one(&self, a: ClassId, b: ClassId) -> bool {
        let is_vehicle = |class: ClassId| self.vehicles.get(usize::from(class)).is_some_and(|&vehicle| vehicle);
        a == b || (is_vehicle(a) && is_vehicle(b))
    }
}
