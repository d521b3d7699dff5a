//! What opens a camera never leaves the cloud by the API: [`hide`] puts [`MASK`] in its place, and [`restore`] takes
//! the mask back as "unchanged".
//!
//! Who may change a document may not read the passwords in it. So a mask stands for the stored value only while the
//! camera's addresses lead to the same hosts: otherwise one could have an edge present a password to a host of one's
//! own.

use aivms_contract::desired::{Camera, Cameras, ValueError};

/// Stands in place of what is not shown.
pub const MASK: &str = "***";

/// Parts of the names of parameters whose values open something, as camera makers put them into addresses.
const TELLING_NAMES: [&str; 8] = ["user", "pass", "pwd", "token", "secret", "auth", "key", "sig"];

/// Says why a mask can't be taken for what is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Unrestorable {
    /// Path of the field, such as `cameras[0].url`.
    pub field: String,
    /// What is wrong, for a person.
    pub reason: String,
}

/// The cameras without user names and passwords, also those in their addresses.
#[must_use]
pub fn hide(cameras: &Cameras) -> Cameras {
    let hidden = cameras.as_slice().iter().map(|camera| Camera {
        url: hide_in_text(&camera.url),
        sub_url: camera.sub_url.as_deref().map(hide_in_text),
        username: camera.username.as_ref().map(|_| MASK.to_owned()),
        password: camera.password.as_ref().map(|_| MASK.to_owned()),
        ..camera.clone()
    });
    // Only texts that no check looks at have changed.
    Cameras::try_from(hidden.collect::<Vec<_>>()).unwrap_or_default()
}

/// An address without what opens it: everything before its last `@`, and the values of telling parameters.
#[must_use]
pub fn hide_in_text(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => (format!("{MASK}@"), rest),
        None => (String::new(), rest),
    };
    format!("{scheme}{user}{}", without_telling_values(rest))
}

/// Puts what is stored back where `submitted` says [`MASK`].
///
/// # Errors
/// A mask stands where nothing is stored, or beside an address that leads elsewhere now.
pub fn restore(submitted: Cameras, stored: Option<&Cameras>) -> Result<Cameras, Unrestorable> {
    let stored = stored.map_or(&[][..], Cameras::as_slice);
    let mut cameras: Vec<Camera> = submitted.into();
    for (index, camera) in cameras.iter_mut().enumerate() {
        let before = stored.iter().find(|before| before.id == camera.id);
        restore_camera(camera, before)
            .map_err(|(field, reason)| Unrestorable { field: format!("cameras[{index}].{field}"), reason })?;
    }
    let wrong = |error: ValueError| Unrestorable { field: "cameras".to_owned(), reason: error.to_string() };
    Cameras::try_from(cameras).map_err(wrong)
}

fn restore_camera(camera: &mut Camera, before: Option<&Camera>) -> Result<(), (&'static str, String)> {
    restore_address(&mut camera.url, before.map(|before| before.url.as_str())).map_err(|reason| ("url", reason))?;
    if let Some(address) = &mut camera.sub_url {
        let before = before.and_then(|before| before.sub_url.as_deref());
        restore_address(address, before).map_err(|reason| ("sub_url", reason))?;
    }
    let leads_elsewhere = before.is_none_or(|before| leads_elsewhere(camera, before));
    let fields = [
        ("username", &mut camera.username, before.and_then(|before| before.username.clone())),
        ("password", &mut camera.password, before.and_then(|before| before.password.clone())),
    ];
    for (name, field, before) in fields {
        if field.as_deref() != Some(MASK) {
            continue;
        }
        let Some(before) = before else {
            return Err((name, format!("{MASK} stands for a stored value, and none is stored")));
        };
        if leads_elsewhere {
            let reason = format!("the camera's address leads to another host now: give it instead of {MASK}");
            return Err((name, reason));
        }
        *field = Some(before);
    }
    Ok(())
}

fn restore_address(address: &mut String, before: Option<&str>) -> Result<(), String> {
    if !address.contains(MASK) {
        return Ok(());
    }
    match before {
        Some(before) if hide_in_text(before) == *address => before.clone_into(address),
        Some(_) => {
            return Err(format!(
                "{MASK} stands for what is stored only while the rest of the address is unchanged: give it whole"
            ));
        }
        None => return Err(format!("{MASK} stands for a stored value, and none is stored")),
    }
    Ok(())
}

/// Whether an address of `camera` has a host that no address of it had before.
fn leads_elsewhere(camera: &Camera, before: &Camera) -> bool {
    let hosts = |camera: &Camera| {
        let addresses = [Some(camera.url.as_str()), camera.sub_url.as_deref()];
        addresses.into_iter().flatten().map(host).collect::<Vec<_>>()
    };
    let known = hosts(before);
    hosts(camera).iter().any(|host| !known.contains(host))
}

/// Scheme, host and port of an address.
fn host(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    format!("{scheme}://{host}").to_ascii_lowercase()
}

/// Replaces each value that follows a telling name and `=`, up to the next separator.
fn without_telling_values(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        shown.push_str(before);
        shown.push('=');
        let name_begins = before.rfind(['&', '/', '?', ';', '#']).map_or(0, |separator| separator + 1);
        let name = before[name_begins..].to_ascii_lowercase();
        let end = after.find(['&', '/', '?', ';', '#']).unwrap_or(after.len());
        rest = after;
        if TELLING_NAMES.iter().any(|telling| name.contains(telling)) {
            shown.push_str(MASK);
            rest = &after[end..];
        }
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn cameras(cameras: serde_json::Value) -> Cameras {
        serde_json::from_value(cameras).unwrap()
    }

    fn stored() -> Cameras {
        cameras(json!([{
            "id": "gate", "url": "rtsp://admin:s3cr3t@10.0.0.9:554/main?channel=1", "sub_url": "rtsp://10.0.0.9:554/sub",
            "username": "root", "password": "hunter2",
        }]))
    }

    #[test]
    fn nothing_that_opens_a_camera_is_shown() {
        let shown = serde_json::to_string(&hide(&stored())).unwrap();
        for secret in ["admin", "s3cr3t", "root", "hunter2"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("rtsp://***@10.0.0.9:554/main?channel=1"), "{shown}");
    }

    #[test]
    fn makers_ways_of_putting_passwords_into_addresses_are_known() {
        for (address, shown) in [
            ("rtsp://h/live?user=a&password=b&channel=1", "rtsp://h/live?user=***&password=***&channel=1"),
            ("rtsp://h:554/user=admin_password=x_channel=1_stream=0.sdp", "rtsp://h:554/user=***"),
            ("rtsp://u:p/w@h/1", "rtsp://***@h/1"),
            ("rtsp://u:p@w@h/1", "rtsp://***@h/1"),
            ("rtsps://h/s?authtoken=1;x=2", "rtsps://h/s?authtoken=***;x=2"),
            ("rtsp://h/cam/realmonitor?channel=1&subtype=0", "rtsp://h/cam/realmonitor?channel=1&subtype=0"),
            ("file:///videos/a.mp4", "file:///videos/a.mp4"),
        ] {
            assert_eq!(hide_in_text(address), shown);
        }
    }

    #[test]
    fn a_document_that_comes_back_as_it_was_shown_changes_nothing() {
        assert_eq!(restore(hide(&stored()), Some(&stored())), Ok(stored()));
    }

    #[test]
    fn a_mask_never_carries_a_password_to_another_host() {
        for (change, field) in [
            (json!({"url": "rtsp://***@evil.example/main?channel=1"}), "cameras[0].url"),
            (json!({"url": "rtsp://evil.example/main"}), "cameras[0].username"),
            (json!({"url": "rtsp://10.0.0.9:555/main"}), "cameras[0].username"),
            (json!({"sub_url": "rtsp://evil.example/sub"}), "cameras[0].username"),
            (json!({"url": "rtsp://10.0.0.9:554@evil.example/main", "username": null}), "cameras[0].password"),
            (json!({"id": "other"}), "cameras[0].url"),
        ] {
            let mut shown = serde_json::to_value(hide(&stored())).unwrap();
            shown[0].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let refused = restore(cameras(shown), Some(&stored())).unwrap_err();
            assert_eq!(refused.field, field, "{change} {refused}");
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_path_may_change_while_the_password_stays_hidden() {
        let mut shown = serde_json::to_value(hide(&stored())).unwrap();
        shown[0]["url"] = "rtsp://10.0.0.9:554/second".into();
        shown[0]["password"] = "new".into();
        let restored = restore(cameras(shown), Some(&stored())).unwrap();
        let camera = &restored.as_slice()[0];
        assert_eq!((camera.username.as_deref(), camera.password.as_deref()), (Some("root"), Some("new")));
    }

    #[test]
    fn a_mask_where_nothing_is_stored_is_refused() {
        let fresh = cameras(json!([{"id": "gate", "url": "rtsp://h/1", "password": "***"}]));
        assert_eq!(restore(fresh, None).unwrap_err().field, "cameras[0].password");
    }

    proptest! {
        #[test]
        fn no_user_or_password_before_an_at_sign_survives(
            user in "[a-z:/?=&@]{0,8}", secret in "[A-Z]{6}", host in "[a-z]{1,8}", path in "[a-z/=&?]{0,12}"
        ) {
            let shown = hide_in_text(&format!("rtsp://{user}{secret}@{host}/{path}"));
            prop_assert!(!shown.contains(&secret), "{}", shown);
            prop_assert_eq!(hide_in_text(&shown), shown, "hiding twice changes nothing");
        }
    }
}
