//! A network camera for tests, with one stream.

use aivms_rig::{Mount, TestCamera};

pub(crate) use aivms_rig::{PASSWORD, TEST_PICTURE, USER, mute_host, silent_camera};

/// One camera; it goes with the value.
pub(crate) struct RtspCamera {
    pub(crate) port: u16,
    camera: TestCamera,
}

impl RtspCamera {
    /// Starts a camera that sends what `launch` makes, at `/main`; port 0 for any.
    pub(crate) fn start(launch: &str, port: u16) -> Self {
        let camera = TestCamera::start(vec![Mount::live("/main", launch)], port).unwrap();
        Self { port: camera.port(), camera }
    }

    /// The URL without credentials.
    pub(crate) fn url(&self) -> String {
        self.camera.url("/main")
    }

    /// Keeps the session alive but sends no more pictures, or sends them again.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.camera.faults("/main").freeze(frozen);
    }
}
