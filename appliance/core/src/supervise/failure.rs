//! Why a camera's source failed, and what a person can do about it.

use std::fmt;

/// Longest part of a foreign error text that is shown, in characters.
const MAX_DETAIL: usize = 200;

/// Why a source stopped or never started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The camera refused with an RTSP or HTTP status, such as 401.
    Refused(u16),
    /// Nothing answers at the camera's address.
    Unreachable,
    /// The file or device of the URL does not exist.
    Missing,
    /// The device is used by another program.
    Busy,
    /// What arrives is no video that can be read.
    NotVideo,
    /// The source was started, but no video came.
    NoVideo,
    /// Video came and then stopped without a word.
    Stalled,
    /// A live source said that its stream is over.
    Ended,
    /// Anything else, in the words of the media framework, without the URL.
    Other(String),
}

impl Failure {
    /// Reads the error text and the debug text of a GStreamer error message.
    ///
    /// The words are those of GStreamer 1.20 to 1.26 for `rtspsrc`, `filesrc`, `v4l2src` and `typefind`; an unknown
    /// text is kept as it is, with its URLs hidden since they may hold passwords.
    #[must_use]
    pub fn from_gstreamer(message: &str, debug: &str) -> Self {
        let text = format!("{message} {debug}").to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if let Some(status) = status_in(&text) {
            Self::Refused(status)
        } else if says(&["unauthorized"]) {
            Self::Refused(401)
        } else if says(&["no such file", "resource not found", "cannot identify device", "no such device"]) {
            Self::Missing
        } else if says(&["busy"]) {
            Self::Busy
        } else if says(&[
            "failed to connect",
            "could not connect",
            "could not resolve",
            "connection refused",
            "no route",
        ]) {
            Self::Unreachable
        } else if says(&["determine type of stream", "not-linked", "not-negotiated", "no decoder", "missing a plugin"])
        {
            Self::NotVideo
        } else if says(&["could not read from resource", "connection reset", "connection closed"]) {
            Self::Ended
        } else {
            Self::Other(without_urls(message))
        }
    }

    /// A failure in the words of another program, with its URLs hidden since they may hold passwords.
    #[must_use]
    pub fn other(text: &str) -> Self {
        Self::Other(without_urls(text))
    }

    /// One line for a person: which camera, what happened, what to do.
    #[must_use]
    pub fn explain(&self, camera: &impl fmt::Display) -> String {
        match self {
            Self::Refused(401) => format!("camera {camera} answers 401: check username and password"),
            Self::Refused(403) => format!("camera {camera} answers 403: allow its user to view this stream"),
            Self::Refused(404) => format!("camera {camera} answers 404: check the path of its url"),
            Self::Refused(status @ 500..) => {
                format!("camera {camera} answers {status}: it may have too many viewers or need a restart")
            }
            Self::Refused(status) => format!("camera {camera} answers {status}: check its url"),
            Self::Unreachable => {
                format!("camera {camera} cannot be reached: check its power, its network and the address in its url")
            }
            Self::Missing => format!(
                "camera {camera}: the file or device of its url does not exist: correct the url or connect the device"
            ),
            Self::Busy => format!("camera {camera}: the device of its url is used by another program: end that one"),
            Self::NotVideo => {
                format!("camera {camera} sends nothing that can be read as video: check its url and codec")
            }
            Self::NoVideo => format!("camera {camera} connected but sends no video: check its stream settings"),
            Self::Stalled => format!("camera {camera} stopped sending video: check its network and power"),
            Self::Ended => format!("camera {camera} ended its stream"),
            Self::Other(detail) => format!("camera {camera} failed: {detail}"),
        }
    }
}

/// Finds a status such as `(401)`, with which the texts of `rtspsrc` end. Elsewhere brackets hold line numbers.
fn status_in(text: &str) -> Option<u16> {
    let (_, status) = text.trim_end().strip_suffix(')')?.rsplit_once('(')?;
    status.parse().ok().filter(|status| (300..600).contains(status))
}

fn without_urls(text: &str) -> String {
    let hide = |word: &str| match word.split_once("://") {
        Some((before, _)) => format!("{before}://..."),
        None => word.to_owned(),
    };
    let words: Vec<_> = text.split_whitespace().map(hide).collect();
    words.join(" ").chars().take(MAX_DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, debug: &str, expected: &Failure) {
        assert_eq!(Failure::from_gstreamer(message, debug), *expected, "{message} / {debug}");
    }

    /// Texts as GStreamer 1.26 printed them.
    #[test]
    fn the_words_of_gstreamer_become_causes() {
        let rtsp = |line: u32, tail: &str| {
            format!(
                "../gst/rtsp/gstrtspsrc.c({line}): gst_rtspsrc_send (): /GstPipeline:pipeline0/GstRTSPSrc:rtspsrc0:\n{tail}"
            )
        };
        check("Unauthorized", &rtsp(6899, "Unauthorized (401)"), &Failure::Refused(401));
        check("Unhandled error", &rtsp(6954, "Forbidden (403)"), &Failure::Refused(403));
        check("Not found", &rtsp(6895, "Stream Not Found (404)"), &Failure::Refused(404));
        check("Unhandled error", &rtsp(6954, "Service Unavailable (503)"), &Failure::Refused(503));
        let opening = "Could not open resource for reading and writing.";
        check(opening, &rtsp(8336, "Failed to connect. (Generic error)"), &Failure::Unreachable);
        check("Resource not found.", "gstfilesrc.c(553): No such file \"/nope.mp4\"", &Failure::Missing);
        check("Cannot identify device '/dev/video77'.", "system error: No such file or directory", &Failure::Missing);
        check("Could not determine type of stream.", "gsttypefindelement.c(1186)", &Failure::NotVideo);
        check("Could not read from resource.", "", &Failure::Ended);
    }

    #[test]
    fn a_cause_names_the_camera_and_what_to_do() {
        assert_eq!(Failure::Refused(401).explain(&"door"), "camera door answers 401: check username and password");
        assert!(Failure::NoVideo.explain(&"door").starts_with("camera door connected but sends no video"));
    }

    #[test]
    fn a_password_in_a_url_never_reaches_the_cause() {
        let failure =
            Failure::from_gstreamer("Odd thing at rtsp://admin:hunter2@10.0.0.5/x?password=hunter2 today", "");
        assert_eq!(failure, Failure::Other("Odd thing at rtsp://... today".to_owned()));
        assert!(!failure.explain(&"door").contains("hunter2"));
    }
}
