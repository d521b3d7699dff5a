//! An HTTP server that does what a test says and remembers what it was sent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::site::SOON;

/// How a receiver takes a request.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Answers with a status line and further headers.
    Answer(&'static str),
    /// Answers `200 OK` after this time.
    Slow(Duration),
    /// Never answers.
    Hang,
}

/// What a receiver was sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

/// A receiver of webhooks or pushes.
pub(crate) struct Receiver {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    /// Takes the first request in the first manner and so on; the last manner stays.
    pub(crate) async fn at(ip: &str, manners: Vec<Manner>) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let requests = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (manners, requests) = (manners.clone(), Arc::clone(&requests));
                tokio::spawn(async move { serve(stream, &manners, &requests).await });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until it was sent `count` requests.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Request> {
        let begun = Instant::now();
        loop {
            let seen = self.seen();
            if seen.len() >= count {
                return seen;
            }
            assert!(begun.elapsed() < SOON, "{} of {count} requests at {}", seen.len(), self.address);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn serve(mut stream: TcpStream, manners: &[Manner], requests: &Mutex<Vec<Request>>) -> Option<()> {
    let request = read(&mut stream).await?;
    let manner = {
        let mut seen = requests.lock().unwrap();
        seen.push(request);
        manners.get(seen.len() - 1).or(manners.last())?.clone()
    };
    let head = match manner {
        Manner::Answer(head) => head,
        Manner::Slow(time) => {
            tokio::time::sleep(time).await;
            "200 OK"
        }
        Manner::Hang => std::future::pending().await,
    };
    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let path = lines.next()?.split(' ').nth(1)?.to_owned();
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        if bytes.len() >= end + 4 + length {
            return Some(Request { path, headers, body: bytes[end + 4..].to_vec(), at: Instant::now() });
        }
    }
}
