//! aiosmtpd, a mail server that is not ours, with manners by address (`smtp_server.py`).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::site::SOON;

/// A mail that the server took.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Taken {
    pub from: String,
    pub to: Vec<String>,
    pub data: String,
    pub tls: bool,
    pub authenticated: bool,
}

pub(crate) struct MailServer {
    pub port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
    process: Child,
}

impl MailServer {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("../.cache/servers/bin/python");
        assert!(python.exists(), "{} is missing; run scripts/fetch-tools", python.display());
        let mut process = Command::new(python)
            .arg(root.join("tests/notify/smtp_server.py"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().expect("the mail server ended").unwrap().parse().unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let mails = Arc::clone(&taken);
        // Ends with the server.
        std::thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                mails.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { port, taken, process }
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Taken> {
        let begun = Instant::now();
        loop {
            let taken = self.taken();
            if taken.len() >= count {
                return taken;
            }
            assert!(begun.elapsed() < SOON, "{} of {count} mails", taken.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Taken {
    /// A header, its lines joined.
    pub(crate) fn header(&self, name: &str) -> String {
        let head = self.data.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
        let found = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        found.unwrap_or_default()
    }
}
