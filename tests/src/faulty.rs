//! Things a site has that do not work: cameras, clouds with another clock, full disks.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server on a loopback port that gives each request the same answer, or none.
#[derive(Debug)]
pub struct Answering {
    address: SocketAddr,
    accept: JoinHandle<()>,
}

impl Answering {
    /// A camera that lets nobody in.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn unauthorized_camera() -> Result<Self> {
        Self::start(Some("RTSP/1.0 401 Unauthorized\r\nCSeq: {cseq}\r\nWWW-Authenticate: Digest realm=\"camera\", nonce=\"5f1c\"\r\n\r\n")).await
    }

    /// A camera that takes the connection and never says a word.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn silent_camera() -> Result<Self> {
        Self::start(None).await
    }

    /// A cloud at the other end of the century.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn cloud_of_2100() -> Result<Self> {
        Self::start(Some(
            "HTTP/1.1 503 Service Unavailable\r\nDate: Fri, 01 Jan 2100 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
        ))
        .await
    }

    async fn start(answer: Option<&'static str>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let accept = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, answer));
            }
        });
        Ok(Self { address, accept })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Answers the heads of requests until the other side closes; a body is taken for the beginning of the next head.
async fn serve(mut client: TcpStream, answer: Option<&'static str>) {
    let mut heard = Vec::new();
    while client.read_buf(&mut heard).await.is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&heard).into_owned();
        let Some((head, rest)) = text.split_once("\r\n\r\n") else { continue };
        let sequence = head.lines().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("0");
        heard = rest.as_bytes().to_vec();
        if let Some(answer) = answer
            && client.write_all(answer.replace("{cseq}", sequence).as_bytes()).await.is_err()
        {
            return;
        }
    }
}

/// A file system of a few MiB that can be filled.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at `path`; `None` when this user may not mount.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn mount(path: &Path) -> Result<Option<Self>> {
        std::fs::create_dir_all(path)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(path).output();
        Ok(mounted.is_ok_and(|output| output.status.success()).then(|| Self(path.to_owned())))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all room.
    ///
    /// # Errors
    /// The file that takes it can't be made.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = std::fs::File::create(self.ballast())?;
        while ballast.write_all(&[0; 4096]).is_ok() {}
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// The file that takes it can't be removed.
    pub fn relieve(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
