//! Cameras for tests and measurements: real RTSP servers on loopback, with Digest authentication and faults on demand.
//!
//! A [`TestCamera`] sends a [`Clip`] that was encoded once, over and over, each client its own copy from its first
//! picture on. What was sent is known picture by picture, so that a test can tell whether one was lost. A [`Wire`] is
//! the network between camera and client, for the faults that only a network has.

mod camera;
mod clip;
mod media;
mod silent;
mod wire;

pub use self::camera::{Mount, PASSWORD, TestCamera, USER};
pub use self::clip::{Audio, Clip, ClipSpec, Codec, Picture, slices};
pub use self::media::Faults;
pub use self::silent::{mute_host, silent_camera};
pub use self::wire::Wire;

/// A live picture of 320x240 at 15 per second, with a key picture each second, for [`Mount::live`].
pub const TEST_PICTURE: &str = "videotestsrc is-live=true pattern=ball ! \
    video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! \
    openh264enc gop-size=15 ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1";
