//! Measures what recording costs: feeds the real recorder with synthetic cameras at real pace and prints processor
//! time, memory, bytes and syncs.
//!
//! `cargo run --release -p aivms-appliance --example record_cameras -- FOLDER SECONDS CAMERAS...`
#![allow(clippy::print_stdout, reason = "a measuring program prints")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance::pipeline::access_unit::{AccessUnit, StreamFormat};
use aivms_appliance::pipeline::consumer::{StreamConsumer as _, StreamFeed, StreamRole};
use aivms_appliance::recorder::{Folders, Recorder, RecorderSettings, RecordingPolicy};
use aivms_contract::id::CameraId;
use aivms_contract::time::{MediaClock, MediaTime};
use anyhow::{Context as _, ensure};
use gstreamer as gst;
use tokio::sync::{broadcast, watch};

const FPS: u64 = 25;
/// Pictures from one key picture to the next.
const GOP: u64 = 50;
/// Bytes per second of one camera: 4 Mbit/s.
const RATE: usize = 500_000;

fn main() -> anyhow::Result<()> {
    gst::init()?;
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("the first argument is a folder on the disk to measure")?;
    let seconds: u64 = arguments.next().context("the second argument is a number of seconds")?.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("cameras  cpu/camera  RSS MiB  MB/s  syncs/s  sync mean ms  longest ms");
    for cameras in arguments {
        let dir = Path::new(&folder).join(format!("measure-{cameras}"));
        runtime.block_on(measure(&dir, seconds, cameras.parse()?))?;
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}

async fn measure(dir: &Path, seconds: u64, cameras: usize) -> anyhow::Result<()> {
    let settings = RecorderSettings {
        data_dir: dir.to_owned(),
        folders: Folders { fast: dir.join("recordings"), slow: None },
        segment: Duration::from_secs(10),
        sync: Duration::from_secs(1),
        edge: None,
    };
    let policy = watch::channel(Arc::new(RecordingPolicy::default()));
    let (recorder, footage) = Recorder::open(settings, policy.1, |_| {})?;
    let pictures = pictures();
    let connect = |number: usize| {
        let (units, feed) = broadcast::channel(256);
        let (sounds, audio) = broadcast::channel::<aivms_appliance::pipeline::access_unit::AudioUnit>(1);
        let (clock, changes) = watch::channel(MediaClock { zero_at: aivms_appliance::clock::now() });
        let camera: CameraId = format!("camera-{number}").parse().context("a camera's name")?;
        recorder.connected(&camera, StreamFeed { role: StreamRole::Main, units: feed, audio, clock: changes });
        anyhow::Ok((units, sounds, clock))
    };
    let feeds: Vec<_> = (0..cameras).map(connect).collect::<Result<_, _>>()?;
    let (begun, cpu) = (Instant::now(), cpu_time());
    for number in 0..seconds * FPS {
        tokio::time::sleep(Duration::from_millis(number * 1000 / FPS).saturating_sub(begun.elapsed())).await;
        let mut unit = pictures[usize::try_from(number % GOP)?].clone();
        unit.at = MediaTime::from_millis(number * 1000 / FPS);
        for (units, ..) in &feeds {
            ensure!(units.send(unit.clone()).is_ok(), "the recorder has ended");
        }
    }
    let used = cpu_time().saturating_sub(cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let (figures, memory) = (footage.disk_figures(), memory_mib());
    let spent = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let (count, written, syncs) = (cameras as f64, figures.bytes as f64, figures.syncs as f64);
    let mean = figures.sync_time.as_secs_f64() * 1000.0 / syncs.max(1.0);
    let longest = figures.longest_sync.as_secs_f64() * 1000.0;
    let share = used * 100.0 / count;
    let (rate, sync_rate) = (written / spent / 1e6, syncs / spent);
    println!(
        "{cameras:>7}  {share:>8.2} %  {memory:>7.1}  {rate:>4.1}  {sync_rate:>7.1}  {mean:>12.2}  {longest:>10.1}"
    );
    recorder.close().await;
    Ok(())
}

/// One group of pictures: real parameter sets, and bytes of no meaning in between, which the recorder does not look at.
fn pictures() -> Vec<AccessUnit> {
    // 1920x1080, as x264 writes them.
    const SEQUENCE: &[u8] = &[
        0x67, 0x42, 0xc0, 0x28, 0xda, 0x01, 0xe0, 0x08, 0x9f, 0x97, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0x20, 0xf1, 0x83, 0x2a,
    ];
    const PICTURE: &[u8] = &[0x68, 0xce, 0x0f, 0xc8];
    let format = Arc::new(StreamFormat::new(gst::Caps::builder("video/x-h264").build()));
    let mut random = fastrand::Rng::with_seed(1);
    let picture = |number: u64| {
        let key = number == 0;
        // A key picture is ten times as large as another one.
        let share = RATE * 2 / (usize::try_from(GOP).unwrap_or(50) + 9);
        let size = if key { share * 10 } else { share };
        let mut bytes = Vec::with_capacity(size + 64);
        if key {
            for set in [SEQUENCE, PICTURE] {
                bytes.extend_from_slice(&[0, 0, 0, 1]);
                bytes.extend_from_slice(set);
            }
        }
        bytes.extend_from_slice(&[0, 0, 0, 1, if key { 0x65 } else { 0x41 }]);
        bytes.extend(std::iter::repeat_with(|| random.u8(1..)).take(size));
        let buffer = gst::Buffer::from_slice(bytes);
        AccessUnit { format: Arc::clone(&format), at: MediaTime::ZERO, key, buffer }
    };
    (0..GOP).map(picture).collect()
}

fn cpu_time() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(usage.tv_sec).unwrap_or(0), u32::try_from(usage.tv_nsec).unwrap_or(0))
}

fn memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
