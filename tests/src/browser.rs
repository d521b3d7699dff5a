//! A real browser, headless, driven over its debugging protocol.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::wait;

/// Longest time the browser may take to start, or to do one thing, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// One page of a browser that ends with it.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    last_id: u64,
}

impl Browser {
    /// Starts Chromium with a profile in `directory` and opens `url`.
    ///
    /// # Errors
    /// It is not installed or does not come up.
    pub async fn open(directory: &Path, url: &str) -> Result<Self> {
        let child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--autoplay-policy=no-user-gesture-required", "--window-size=1200,900"])
            .args(["--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", directory.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("chromium: run `make setup`")?;
        // Ended with this value also when what follows fails.
        let mut started = Started(Some(child));
        let told = directory.join("DevToolsActivePort");
        let address = wait::until("browser's debugging port", LIMIT, async || {
            let text = std::fs::read_to_string(&told).unwrap_or_default();
            Ok(text.split_once('\n').map(|(port, path)| format!("ws://127.0.0.1:{port}{}", path.trim())))
        });
        let address = address.await?;
        let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = connect_async_with_config(address.as_str(), Some(limits), true).await?;
        let child = started.0.take().context("the browser")?;
        let mut browser = Self { child, socket, session: String::new(), last_id: 0 };
        let target = browser.call("Target.createTarget", json!({ "url": url })).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await?;
        browser.session = attached["sessionId"].as_str().context("sessionId")?.to_owned();
        Ok(browser)
    }

    /// Runs JavaScript in the page and gives its value; promises are awaited.
    ///
    /// # Errors
    /// It threw, or the browser is gone.
    pub async fn eval(&mut self, script: &str) -> Result<Value> {
        let arguments = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", arguments).await?;
        ensure!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Looks at the page until `script` gives something that is true.
    ///
    /// # Errors
    /// It does not within a minute.
    pub async fn until(&mut self, script: &str) -> Result<Value> {
        let end = tokio::time::Instant::now() + LIMIT;
        loop {
            let value = self.eval(script).await;
            match value {
                Ok(value) if !matches!(value, Value::Null | Value::Bool(false)) && value != json!("") => {
                    return Ok(value);
                }
                Err(error) if tokio::time::Instant::now() > end => return Err(error),
                _ if tokio::time::Instant::now() > end => bail!("never true: {script}"),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// A picture of the page as a PNG file.
    ///
    /// # Errors
    /// The browser is gone or the file can't be written.
    pub async fn screenshot(&mut self, file: &Path) -> Result<()> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let data = answer["data"].as_str().context("no picture")?;
        Ok(std::fs::write(file, base64_decoded(data)?)?)
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(message.to_string())).await?;
        let answered = timeout(LIMIT, async {
            while let Some(message) = self.socket.next().await {
                let Message::Text(text) = message? else { continue };
                let answer: Value = serde_json::from_str(&text)?;
                if answer["id"] == self.last_id {
                    ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                    return Ok(answer["result"].clone());
                }
            }
            bail!("{method}: the browser has ended")
        });
        answered.await.with_context(|| format!("{method}: no answer"))?
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

struct Started(Option<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(end);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn base64_decoded(text: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
}
