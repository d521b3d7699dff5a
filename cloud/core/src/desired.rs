//! Desired documents: hiding what opens cameras, taking hidden values back as unchanged, and the difference of two.

mod difference;
mod secrets;

pub use difference::{Difference, difference};
pub use secrets::{MASK, Unrestorable, hide, hide_in_text, restore};

use aivms_contract::desired::Cameras;

/// Beginnings of the addresses an edge can read video from.
const SCHEMES: [&str; 4] = ["rtsp://", "rtsps://", "file://", "v4l2://"];

/// Checks that every camera's addresses have a form that edges know. They look closer when they apply the document.
///
/// # Errors
/// The path of the wrong field and what is wrong with it; the address is not repeated, it may hold a password.
pub fn check_addresses(cameras: &Cameras) -> Result<(), (String, String)> {
    for (index, camera) in cameras.as_slice().iter().enumerate() {
        for (field, address) in [("url", Some(&camera.url)), ("sub_url", camera.sub_url.as_ref())] {
            let Some(address) = address else { continue };
            let known = SCHEMES.iter().any(|scheme| address.len() > scheme.len() && address.starts_with(scheme));
            if !known || address.chars().any(|c| c.is_control() || c.is_whitespace()) {
                let reason = "must begin with rtsp://, rtsps://, file:// or v4l2:// and hold no spaces";
                return Err((format!("cameras[{index}].{field}"), reason.to_owned()));
            }
        }
    }
    Ok(())
}
