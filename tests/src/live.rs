//! A site whose one camera is looked at: both programs, a network that counts, viewers and a browser.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aivms_contract::relay::{FrameHeader, FrameKind, FromEdge};
use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::api::Api;
use crate::browser::Browser;
use crate::proxy::Proxy;
use crate::site::{Appliance, Cloud, Watch};
use crate::{fixtures, wait};

/// Longest wait for one step on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
/// The camera.
pub const CAMERA: &str = "gate";

/// A cloud and an edge that only connects outward, with one camera that sends H.264.
#[derive(Debug)]
pub struct LiveSite {
    /// The cloud.
    pub cloud: Cloud,
    /// The edge.
    pub appliance: Appliance,
    /// The owner.
    pub api: Api,
    /// Between the two; counts what the edge sends over HTTP, which the relay is part of.
    pub proxy: Proxy,
    directory: PathBuf,
}

impl LiveSite {
    /// Starts it and waits until the camera gives video.
    ///
    /// # Errors
    /// A part does not come up.
    pub async fn start(directory: &Path) -> Result<Self> {
        let video = people_in_h264(directory)?;
        let cloud = Cloud::start(&directory.join("cloud"), None).await?;
        let target = cloud.base.trim_start_matches("http://").parse()?;
        let proxy = Proxy::start(([127, 0, 0, 1], 0).into(), target).await?;
        let api = Api::register(&cloud.base, "acme").await?;
        let through = format!("http://{}", proxy.address());
        let mut appliance = Appliance::register(&directory.join("edge"), &api, &through).await?;
        let camera = json!({ "id": CAMERA, "url": format!("file://{}", video.display()) });
        appliance.up(&Watch { cameras: json!({ "cameras": [camera] }), settings: String::new() })?;
        let site = Self { cloud, appliance, api, proxy, directory: directory.to_owned() };
        wait::until("camera with video", LIMIT, async || {
            let cameras = site.api.get(&format!("/api/edges/{}/cameras", site.appliance.edge_id())).await?;
            Ok((cameras["items"][0]["live"] == true).then_some(()))
        })
        .await?;
        Ok(site)
    }

    /// What is recorded of the last hour, as the cloud tells it.
    ///
    /// # Errors
    /// The edge does not answer.
    pub async fn recorded(&self) -> Result<Vec<(i64, i64)>> {
        let now = jiff::Timestamp::now();
        let hour = jiff::Span::new().hours(1);
        let (from, to) = (now.checked_sub(hour)?, now.checked_add(hour)?);
        let path = format!("/api/edges/{}/cameras/{CAMERA}/timeline?from={from}&to={to}", self.appliance.edge_id());
        let timeline = self.api.get(&path).await?;
        let millis = |value: &Value| -> Result<i64> {
            Ok(value.as_str().context("a time")?.parse::<jiff::Timestamp>()?.as_millisecond())
        };
        let spans = timeline["spans"].as_array().context("spans")?;
        spans.iter().map(|span| Ok((millis(&span["start"])?, millis(&span["end"])?))).collect()
    }

    /// A viewer that is no browser; `more` goes into its ticket.
    ///
    /// # Errors
    /// The cloud refuses.
    pub async fn viewer(&self, more: Value) -> Result<Viewer> {
        let mut wanted = json!({ "edge_id": self.appliance.edge_id(), "camera_id": CAMERA });
        if let (Some(wanted), Value::Object(more)) = (wanted.as_object_mut(), more) {
            wanted.extend(more);
        }
        let ticket = self.api.post("/api/live/tickets", wanted).await?;
        let ticket = ticket["ticket"].as_str().context("ticket")?;
        let base = self.cloud.base.replacen("http", "ws", 1);
        let (socket, _) = connect_async(format!("{base}/api/live/stream?ticket={ticket}")).await?;
        Ok(Viewer { socket })
    }

    /// A browser on the viewer's page, signed in, with live video.
    ///
    /// # Errors
    /// The page does not get that far.
    pub async fn browser(&self) -> Result<Browser> {
        let profile = self.directory.join("browser");
        std::fs::create_dir_all(&profile)?;
        let mut browser = Browser::open(&profile, &format!("{}/viewer", self.cloud.base)).await?;
        browser.until("document.querySelector('#sign-in button') && document.readyState === 'complete'").await?;
        let sign_in = "(() => { const form = document.querySelector('#sign-in'); \
                       form.email.value = 'owner@acme.example'; form.password.value = 'correct horse battery'; \
                       form.requestSubmit(); return true; })()";
        browser.eval(sign_in).await?;
        browser.until("document.body.dataset.first").await?;
        Ok(browser)
    }
}

/// The public video of people walking, as a camera would send it: H.264, a key picture every two seconds.
fn people_in_h264(directory: &Path) -> Result<PathBuf> {
    let (from, to) = (fixtures::cached("video/vtest.avi")?, directory.join("people.mp4"));
    let encoded = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-y", "-i"])
        .arg(from)
        .args(["-an", "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-bf", "0", "-g", "20"])
        .args(["-pix_fmt", "yuv420p", "-b:v", "1500k"])
        .arg(&to)
        .status()
        .context("ffmpeg: run `make setup`")?;
    ensure!(encoded.success(), "ffmpeg: {encoded}");
    Ok(to)
}

/// A viewer that counts what it gets.
#[derive(Debug)]
pub struct Viewer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// A frame for a viewer.
#[derive(Debug)]
pub enum Got {
    /// A text frame.
    Text(FromEdge),
    /// The head of a binary frame and the bytes behind it.
    Frame(FrameHeader, usize),
    /// The cloud has closed the connection.
    Closed,
}

impl Viewer {
    /// The next frame.
    ///
    /// # Errors
    /// None comes within a minute, or one is not understood.
    pub async fn next(&mut self) -> Result<Got> {
        timeout(LIMIT, async {
            loop {
                return Ok(match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => Got::Text(FromEdge::read(&text)?),
                    Some(Ok(Message::Binary(frame))) => {
                        let (header, body) = FrameHeader::read(&frame)?;
                        Got::Frame(header, body.len())
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Got::Closed,
                    Some(Ok(_)) => continue,
                });
            }
        })
        .await
        .context("a viewer got nothing")?
    }

    /// Takes so many fragments and gives their heads.
    ///
    /// # Errors
    /// The stream ends before.
    pub async fn fragments(&mut self, count: usize) -> Result<Vec<FrameHeader>> {
        let mut heads = Vec::new();
        while heads.len() < count {
            match self.next().await? {
                Got::Frame(header, _) if header.kind == FrameKind::Fragment => heads.push(header),
                Got::Frame(..) => {}
                Got::Text(FromEdge::Ended { reason, detail, .. }) => bail!("ended: {reason:?} {detail}"),
                Got::Text(_) => {}
                Got::Closed => bail!("closed after {} fragments", heads.len()),
            }
        }
        Ok(heads)
    }

    /// Waits for the end and gives its reason.
    ///
    /// # Errors
    /// It does not come within a minute.
    pub async fn ended(&mut self) -> Result<FromEdge> {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            match self.next().await? {
                Got::Text(ended @ FromEdge::Ended { .. }) => return Ok(ended),
                Got::Closed => bail!("closed without a reason"),
                _ => {}
            }
        }
        bail!("it goes on")
    }

    /// Says something.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn say(&mut self, message: Value) -> Result<()> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }
}
