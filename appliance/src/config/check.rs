//! Checks of cameras that need more than their own words: an address that a source can be made for, and classes that
//! the detector knows.

use aivms_contract::desired::{Camera, Cameras, ObjectFilter};

use crate::pipeline::source::address::Address;

/// Path of a wrong field, and what is wrong with it.
type Problem = (String, String);

/// Checks what the contract's types leave open: that each camera's address is one a source can be made for.
///
/// # Errors
/// The path of the wrong field and what is wrong with it.
pub fn check_cameras(cameras: &Cameras) -> Result<(), Problem> {
    for (index, camera) in cameras.as_slice().iter().enumerate() {
        if let Err(wrong) = Address::of(camera).and_then(|_| Address::of_sub(camera)) {
            // Its text begins with the field and never repeats the address, which may hold a password.
            let text = wrong.error.to_string();
            let (field, problem) = text.split_once(": ").unwrap_or(("url", &text));
            return Err((format!("cameras[{index}].{field}"), problem.to_owned()));
        }
    }
    Ok(())
}

/// Checks that the classes named for cameras and their rules are among the detector's `labels`; a misspelt one would
/// never be seen.
///
/// # Errors
/// The path of the wrong field and what is wrong with it.
pub fn check_classes(cameras: &Cameras, labels: &[String]) -> Result<(), Problem> {
    for (index, camera) in cameras.as_slice().iter().enumerate() {
        for (path, classes) in classes_of(camera) {
            if let Some(wrong) = classes.iter().position(|class| !labels.contains(class)) {
                let problem = format!("the detector's model has no class {:?}", classes[wrong]);
                return Err((format!("cameras[{index}].{path}classes[{wrong}]"), problem));
            }
        }
    }
    Ok(())
}

/// Every list of classes of a camera, with the path to it.
fn classes_of(camera: &Camera) -> Vec<(String, &[String])> {
    let mut lists = vec![(String::new(), camera.classes.as_slice())];
    for (i, zone) in camera.zones.as_slice().iter().enumerate() {
        lists.push((format!("zones[{i}]."), &zone.classes));
        lists.extend(of_filters(&format!("zones[{i}]."), &zone.filters));
    }
    for (i, line) in camera.lines.as_slice().iter().enumerate() {
        lists.push((format!("lines[{i}]."), &line.classes));
        lists.extend(of_filters(&format!("lines[{i}]."), &line.filters));
    }
    lists.extend(camera.masks.iter().enumerate().map(|(i, mask)| (format!("masks[{i}]."), mask.classes.as_slice())));
    lists.extend(of_filters("", &camera.filters));
    lists
}

fn of_filters<'a>(path: &str, filters: &'a [ObjectFilter]) -> impl Iterator<Item = (String, &'a [String])> {
    filters.iter().enumerate().map(move |(i, filter)| (format!("{path}filters[{i}]."), filter.classes.as_slice()))
}
