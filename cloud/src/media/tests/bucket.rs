//! A bucket that is one: an S3 server beside the test, over a line that breaks when it is told to.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::*;

/// How long anything may take that should happen at once, on a loaded machine.
const SOON: Duration = Duration::from_secs(60);

/// An S3 server with an empty bucket, and the line to it.
struct Bucket {
    server: Child,
    line: Arc<Line>,
}

/// Passes bytes on, counts those that go up, and breaks.
#[derive(Default)]
struct Line {
    port: AtomicU64,
    up: AtomicU64,
    /// Connections are closed after so many bytes up; 0 for never.
    breaks_after: AtomicU64,
    broken: AtomicBool,
    seen_signature: AtomicBool,
}

impl Bucket {
    /// Starts it with `runtime` carrying the line.
    async fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/servers/bin/moto_server");
        assert!(program.exists(), "{} is missing; run scripts/fetch-tools", program.display());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let bucket = Self { server: command.spawn().unwrap(), line: Arc::default() };
        bucket.line.clone().open(port).await;
        let url = format!("http://127.0.0.1:{port}/clips");
        let signature = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, \
                         Signature=0";
        let make = || reqwest::Client::new().put(&url).header("authorization", signature).send();
        let started = std::time::Instant::now();
        while !make().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(started.elapsed() < SOON, "the S3 server does not come up");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bucket
    }

    fn objects(&self) -> Objects {
        let endpoint = format!("http://127.0.0.1:{}", self.line.port.load(Ordering::Relaxed));
        let variables = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Objects::bucket(&"s3://clips/of/site".parse().unwrap(), variables.into_iter()).unwrap()
    }

    /// The files of a cloud that uses it.
    fn files(&self, bench: &Bench) -> MediaFiles {
        let settings = bench.settings(|settings| settings.bucket = Some("s3://clips/of/site".parse().unwrap()));
        MediaFiles::with_objects(settings, self.objects(), Arc::clone(&bench.store)).unwrap()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Line {
    async fn open(self: Arc<Self>, to: u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.port.store(listener.local_addr().unwrap().port().into(), Ordering::Relaxed);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let line = Arc::clone(&self);
                tokio::spawn(async move {
                    let far = TcpStream::connect(("127.0.0.1", to)).await?;
                    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) =
                        (near.into_split(), far.into_split());
                    tokio::select! {
                        done = line.pass_up(&mut from_near, &mut to_far) => done,
                        done = tokio::io::copy(&mut from_far, &mut to_near) => done.map(|_| ()),
                    }
                });
            }
        });
    }

    async fn pass_up(
        &self,
        from: &mut (impl tokio::io::AsyncRead + Unpin),
        to: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            if buffer[..length].windows(16).any(|text| text == b"AWS4-HMAC-SHA256") {
                self.seen_signature.store(true, Ordering::Relaxed);
            }
            let up = self.up.fetch_add(length as u64, Ordering::Relaxed) + length as u64;
            let breaks_after = self.breaks_after.load(Ordering::Relaxed);
            if length == 0 || (breaks_after > 0 && up > breaks_after) {
                self.broken.fetch_or(length > 0, Ordering::Relaxed);
                return Ok(());
            }
            to.write_all(&buffer[..length]).await?;
        }
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let started = std::time::Instant::now();
        while !is_so(self) {
            assert!(started.elapsed() < SOON, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn read(objects: &Objects, object: &str, part: Range<u64>) -> Vec<u8> {
    let mut stream = objects.read(object, part).await.unwrap();
    let mut read = Vec::new();
    while let Some(some) = futures_util::StreamExt::next(&mut stream).await {
        read.extend_from_slice(&some.unwrap());
    }
    read
}

#[tokio::test]
async fn a_bucket_gives_back_what_was_put_whole_and_in_parts_until_it_is_removed() {
    let bucket = Bucket::start().await;
    let (objects, dir) = (bucket.objects(), tempfile::tempdir().unwrap());
    for (object, length) in [("acme/small.mp4", 5_000), ("acme/large.mp4", (17 << 20) + 5)] {
        let (from, bytes) = (dir.path().join("file"), noise(length));
        std::fs::write(&from, &bytes).unwrap();
        objects.put(object, &from).await.unwrap();
        // Once more, as after a crash before the row said that it is stored.
        objects.put(object, &from).await.unwrap();
        for part in [0..length, 0..1, length / 2 - 3..length / 2 + 3, length - 1..length] {
            let range = part.start as u64..part.end as u64;
            assert!(read(&objects, object, range).await == bytes[part.clone()], "{object} {part:?}");
        }
        objects.remove(object).await.unwrap();
        objects.remove(object).await.unwrap();
        assert!(matches!(objects.read(object, 0..1).await, Err(object_store::Error::NotFound { .. })));
    }
    assert!(bucket.line.seen_signature.load(Ordering::Relaxed), "requests are signed");
}

#[tokio::test]
async fn a_line_to_the_bucket_that_breaks_in_the_middle_of_a_file_loses_nothing() {
    let (bench, bucket) = (Bench::new().await, Bucket::start().await);
    let (files, bytes) = (bucket.files(&bench), noise(20 << 20));
    files.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    bucket.line.breaks_after.store(12 << 20, Ordering::Relaxed);
    let sending = async {
        let mut progress = MediaProgress { offset: 0, stored: false };
        while !progress.stored {
            let from = progress.offset as usize;
            let piece = &bytes[from..bytes.len().min(from + (4 << 20))];
            progress = if piece.is_empty() {
                files.offer(&bench.sender, offer("clip", &bytes)).await.unwrap()
            } else {
                bench.send(&files, "clip", progress.offset, piece).await.unwrap()
            };
        }
    };
    let mending = async {
        bucket.line.until("a broken line", |line| line.broken.load(Ordering::Relaxed)).await;
        assert_eq!(bench.row("clip").await.unwrap().stored_at, None, "nothing is said to be stored before it is");
        bucket.line.breaks_after.store(0, Ordering::Relaxed);
    };
    tokio::time::timeout(SOON, async { tokio::join!(sending, mending) }).await.unwrap();
    let row = bench.row("clip").await.unwrap();
    assert!(row.stored_at.is_some() && bench.parts() == 0);
    assert!(read(&bucket.objects(), &row.object, 0..row.size).await == bytes);
}

#[tokio::test]
async fn a_bucket_that_is_away_is_given_up_in_time_and_its_files_are_not_taken_for_gone() {
    let (bench, mut bucket) = (Bench::new().await, Bucket::start().await);
    let (files, bytes) = (bucket.files(&bench), noise(5_000));
    files.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    assert!(bench.send(&files, "clip", 0, &bytes).await.unwrap().stored);
    let row = bench.row("clip").await.unwrap();
    bucket.server.kill().unwrap();
    let begun = std::time::Instant::now();
    let Err(failed) = files.read(&row, 0..1).await else { panic!("nobody is there") };
    assert!(!failed.is_gone() && begun.elapsed() < 2 * BEGINS_WITHIN, "{failed} after {:?}", begun.elapsed());
}

#[test]
fn a_cloud_that_is_killed_while_a_file_goes_to_the_bucket_stores_it_after_its_start() {
    let (outside, killed) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (bench, bucket) = outside.block_on(async { (Bench::new().await, Bucket::start().await) });
    let bytes = noise(20 << 20);
    let before = bucket.files(&bench);
    killed.block_on(async {
        before.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
        bench.send(&before, "clip", 0, &bytes[..19 << 20]).await.unwrap();
        tokio::select! {
            done = bench.send(&before, "clip", 19 << 20, &bytes[19 << 20..]) => panic!("too fast: {done:?}"),
            () = bucket.line.until("half of it on its way", |line| line.up.load(Ordering::Relaxed) > 9 << 20) => {}
        }
    });
    killed.shutdown_background();
    drop(before);
    outside.block_on(async {
        assert_eq!(bench.row("clip").await.unwrap().stored_at, None);
        let restarted = bucket.files(&bench);
        Janitor::new(restarted.clone()).round().await.unwrap();
        let row = bench.row("clip").await.unwrap();
        assert!(row.stored_at.is_some(), "the janitor stores what is whole");
        assert!(read(&bucket.objects(), &row.object, 0..row.size).await == bytes);
    });
}
