//! Where a camera's video comes from: the URL of its configuration, taken apart and without secrets in its texts.

use std::fmt;
use std::path::PathBuf;

use aivms_contract::desired::{Camera, RtspClient};
use aivms_contract::id::CameraId;
use percent_encoding::percent_decode_str;
use url::Url;

/// A camera URL that has been understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A network camera.
    Rtsp(RtspAddress),
    /// A video file, played for ever in real time.
    File(PathBuf),
    /// A local capture device.
    V4l2(PathBuf),
}

/// A network camera; its `Debug` form shows no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspAddress {
    /// The URL without user and password.
    pub location: String,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// What connects to it.
    pub client: RtspClient,
    /// User and password.
    pub credentials: Option<Credentials>,
}

/// User and password of a camera; neither `Debug` nor any message shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password, empty for none.
    pub password: String,
}

/// Says why a camera's URL is refused; never repeats the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL at all.
    #[error("url: is not a URL ({0}); write rtsp://host/path, file:///path or v4l2:///dev/video0")]
    Syntax(url::ParseError),
    /// A scheme without a source.
    #[error("url: the scheme {0:?} is not known; use rtsp://, rtsps://, file:// or v4l2://")]
    Scheme(String),
    /// A network camera without a host.
    #[error("url: names no host; write rtsp://host/path")]
    NoHost,
    /// A file or device without an absolute path.
    #[error("url: names no path; write {0}:///absolute/path")]
    NoPath(&'static str),
    /// An encrypted connection by a client that knows none.
    #[error("rtsp_client: retina knows no rtsps://; leave rtsp_client out, or write rtsp://")]
    Tls,
    /// A wrong second URL.
    #[error("sub_{0}")]
    Sub(Box<Self>),
    /// A password without a user.
    #[error("password: is given without a username")]
    PasswordAlone,
}

/// A camera's wrong address, with the camera's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("camera {camera}: {error}")]
pub struct CameraAddressError {
    /// The camera.
    pub camera: CameraId,
    /// What is wrong, beginning with the field's name.
    pub error: AddressError,
}

impl Address {
    /// Understands where `camera` is; its `username` and `password` win over those in the URL.
    ///
    /// # Errors
    /// Names the camera and the field that is wrong.
    pub fn of(camera: &Camera) -> Result<Self, CameraAddressError> {
        Self::of_url(camera, &camera.url).map_err(|error| CameraAddressError { camera: camera.id.clone(), error })
    }

    /// Understands where the second stream of `camera` is, if it has one.
    ///
    /// # Errors
    /// Names the camera and the field that is wrong.
    pub fn of_sub(camera: &Camera) -> Result<Option<Self>, CameraAddressError> {
        let of_sub = |error| match error {
            AddressError::Tls | AddressError::PasswordAlone => error,
            of_url => AddressError::Sub(Box::new(of_url)),
        };
        let wrong = |error| CameraAddressError { camera: camera.id.clone(), error: of_sub(error) };
        camera.sub_url.as_deref().map(|url| Self::of_url(camera, url).map_err(wrong)).transpose()
    }

    fn of_url(camera: &Camera, url: &str) -> Result<Self, AddressError> {
        Self::parse(url, camera.username.as_deref(), camera.password.as_deref())?.through(camera.rtsp_client)
    }

    /// The same by another client, which concerns network cameras alone.
    ///
    /// # Errors
    /// The client does not know encrypted connections.
    pub fn through(self, client: RtspClient) -> Result<Self, AddressError> {
        match self {
            Self::Rtsp(RtspAddress { tls: true, .. }) if client == RtspClient::Retina => Err(AddressError::Tls),
            Self::Rtsp(address) => Ok(Self::Rtsp(RtspAddress { client, ..address })),
            other => Ok(other),
        }
    }

    /// Understands `url`; `username` and `password` win over those in it.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn parse(url: &str, username: Option<&str>, password: Option<&str>) -> Result<Self, AddressError> {
        let parsed = Url::parse(url).map_err(AddressError::Syntax)?;
        match parsed.scheme() {
            "rtsp" | "rtsps" => parse_rtsp(parsed, username, password).map(Self::Rtsp),
            "file" => parsed.to_file_path().map(Self::File).map_err(|()| AddressError::NoPath("file")),
            "v4l2" => parse_device(&parsed).map(Self::V4l2),
            other => Err(AddressError::Scheme(other.to_owned())),
        }
    }
}

fn parse_rtsp(mut url: Url, username: Option<&str>, password: Option<&str>) -> Result<RtspAddress, AddressError> {
    if url.host_str().is_none_or(str::is_empty) {
        return Err(AddressError::NoHost);
    }
    let username = username.map_or_else(|| unescape(url.username()), str::to_owned);
    let password = password.map_or_else(|| unescape(url.password().unwrap_or_default()), str::to_owned);
    if username.is_empty() && !password.is_empty() {
        return Err(AddressError::PasswordAlone);
    }
    // Both fail only for URLs that can't have credentials, which a URL with a host can.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let credentials = (!username.is_empty()).then_some(Credentials { username, password });
    let (tls, client) = (url.scheme() == "rtsps", RtspClient::default());
    Ok(RtspAddress { tls, client, location: url.into(), credentials })
}

fn parse_device(url: &Url) -> Result<PathBuf, AddressError> {
    // `v4l2://dev/video0` would make "dev" a host.
    let has_path = url.host_str().is_none_or(str::is_empty) && url.path().len() > 1;
    has_path.then(|| PathBuf::from(unescape(url.path()))).ok_or(AddressError::NoPath("v4l2"))
}

fn unescape(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl fmt::Debug for RtspAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RtspAddress({}, {:?})", self.location, self.credentials)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtsp(rtsp) => f.write_str(&rtsp.location),
            Self::File(path) | Self::V4l2(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtsp(url: &str, username: Option<&str>, password: Option<&str>) -> RtspAddress {
        match Address::parse(url, username, password) {
            Ok(Address::Rtsp(rtsp)) => rtsp,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn credentials_in_a_url_are_taken_out_and_never_printed() {
        let address = rtsp("rtsp://admin:p%40ss@10.0.0.7:8554/main?x=1", None, None);
        assert_eq!(address.location, "rtsp://10.0.0.7:8554/main?x=1");
        let credentials = address.credentials.clone().unwrap();
        assert_eq!((credentials.username.as_str(), credentials.password.as_str()), ("admin", "p@ss"));
        let texts = format!("{address:?} {} {credentials:?}", Address::Rtsp(address.clone()));
        assert!(!texts.contains("p@ss") && !texts.contains("p%40ss") && !texts.contains("admin"), "{texts}");
    }

    #[test]
    fn credentials_beside_the_url_win_over_those_in_it() {
        let credentials = rtsp("rtsp://a:b@host/", Some("c"), Some("d")).credentials.unwrap();
        assert_eq!((credentials.username.as_str(), credentials.password.as_str()), ("c", "d"));
        assert!(rtsp("rtsp://host/", None, None).credentials.is_none());
    }

    #[test]
    fn files_and_devices_are_paths() {
        assert_eq!(Address::parse("file:///a%20b/c.avi", None, None), Ok(Address::File("/a b/c.avi".into())));
        assert_eq!(Address::parse("v4l2:///dev/video0", None, None), Ok(Address::V4l2("/dev/video0".into())));
    }

    #[test]
    fn a_wrong_address_names_the_camera_and_the_field_but_not_the_url() {
        let camera = |url: &str| {
            serde_json::from_value::<Camera>(serde_json::json!({ "id": "gate", "url": url })).expect("a camera")
        };
        for (url, says) in [
            ("http://user:secret@host/", "the scheme \"http\" is not known"),
            ("no url", "is not a URL"),
            ("v4l2://dev/video0", "names no path"),
            ("rtsp://:secret@host/", "without a username"),
        ] {
            let text = Address::of(&camera(url)).unwrap_err().to_string();
            assert!(text.starts_with("camera gate: ") && text.contains(says), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
