//! What the test cameras of this suite send, and whether it arrived.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use aivms_appliance::pipeline::access_unit::AccessUnit;
use aivms_rig::{Clip, ClipSpec, Mount, PASSWORD, TestCamera, USER, slices};
use serde_json::{Value, json};

/// The RTSP clients, by the names they have in a camera's configuration.
pub(crate) const CLIENTS: [&str; 2] = ["rtspsrc", "retina"];

static ENCODED: LazyLock<Mutex<HashMap<String, Arc<Clip>>>> = LazyLock::new(Mutex::default);

/// Encodes a clip, once for each kind.
pub(crate) fn clip(spec: ClipSpec) -> Arc<Clip> {
    let mut encoded = ENCODED.lock().unwrap();
    Arc::clone(encoded.entry(format!("{spec:?}")).or_insert_with(|| Arc::new(Clip::encode(spec).unwrap())))
}

/// A camera with one stream, at `/main`.
pub(crate) fn server(clips: &[Arc<Clip>]) -> TestCamera {
    TestCamera::start(vec![Mount::of_clips("/main", clips)], 0).unwrap()
}

/// The configuration of a camera.
pub(crate) fn camera(id: &str, url: &str, client: &str) -> Value {
    json!({ "id": id, "url": url, "rtsp_client": client, "username": USER, "password": PASSWORD })
}

/// Which pictures of the clips arrived: clip and place of each unit.
pub(crate) fn pictures(units: &[AccessUnit], clips: &[Arc<Clip>]) -> Vec<(usize, usize)> {
    let mut places = HashMap::new();
    for (number, clip) in clips.iter().enumerate() {
        places.extend(clip.slices().into_iter().enumerate().map(|(at, slice)| (slice, (number, at))));
    }
    let find = |unit: &AccessUnit| {
        let data = unit.buffer.map_readable().unwrap();
        let slice = slices(&data, clips[0].spec.codec);
        *places.get(&slice).unwrap_or_else(|| panic!("{} bytes that no clip holds", slice.len()))
    };
    units.iter().map(find).collect()
}

/// Says where pictures are missing, if any are: each must be followed by the next, the last by the first.
pub(crate) fn missing(units: &[AccessUnit], clip: &Arc<Clip>) -> Vec<(usize, usize)> {
    let (got, count) = (pictures(units, std::slice::from_ref(clip)), clip.pictures.len());
    let broken = got.windows(2).filter(|two| (two[0].1 + 1) % count != two[1].1);
    broken.map(|two| (two[0].1, two[1].1)).collect()
}
