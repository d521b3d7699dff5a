//! Runs every measuring program of the workspace and prints one table: what was measured, against what bound, and
//! beside which peer, all in the same run on the same machine.
//!
//! The programs are examples of their packages, built with the release profile; each prints [`Row`]s.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use aivms_tests::report::Row;
use aivms_tests::tracking;
use anyhow::{Context, Result, ensure};

/// The measuring programs, in the order of the data path.
const PROGRAMS: &[&str] = &[
    "bench_recording",
    "bench_footage",
    "bench_live",
    "bench_vision",
    "bench_zones",
    "bench_engine",
    "bench_gate",
    "bench_probes",
    "bench_store",
    "bench_ingest",
    "bench_lists",
    "bench_fleet",
    "bench_alerts",
];

/// A line of the table.
struct Goal {
    what: &'static str,
    bench: &'static str,
    /// What the figure is divided by, when the goal is a ratio.
    over: Option<&'static str>,
    bound: Bound,
    /// What it is reported beside.
    beside: Beside,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

enum Beside {
    Nothing,
    /// A row measured in this run.
    Row(&'static str),
    /// A figure somebody published or measured elsewhere, in the goal's unit.
    Published(&'static str),
    /// What the figure was taken against in this run, shown in the second table; where Python's packages could not be
    /// had, the goal is not judged.
    Peers(&'static str),
}

const GOALS: &[Goal] = &[
    Goal {
        what: "recording 1 camera of 1080p through rtspsrc, processor time as part of ffmpeg's",
        bench: "record.cpu.rtspsrc.1",
        over: Some("record.cpu.ffmpeg.1"),
        bound: Bound::AtMost(0.8),
        beside: Beside::Row("record.cpu.ffmpeg.1"),
    },
    Goal {
        what: "recording 4 cameras of 1080p through rtspsrc, processor time as part of ffmpeg's",
        bench: "record.cpu.rtspsrc.4",
        over: Some("record.cpu.ffmpeg.4"),
        bound: Bound::AtMost(0.8),
        beside: Beside::Row("record.cpu.ffmpeg.4"),
    },
    Goal {
        what: "recording 16 cameras of 1080p through rtspsrc, processor time as part of ffmpeg's",
        bench: "record.cpu.rtspsrc.16",
        over: Some("record.cpu.ffmpeg.16"),
        bound: Bound::AtMost(0.8),
        beside: Beside::Row("record.cpu.ffmpeg.16"),
    },
    Goal {
        what: "recording through rtspsrc, memory of a further camera",
        bench: "record.memory.rtspsrc",
        over: None,
        bound: Bound::AtMost(5.0),
        beside: Beside::Row("record.memory.ffmpeg"),
    },
    Goal {
        what: "recording 1 camera of 1080p through retina, processor time as part of ffmpeg's",
        bench: "record.cpu.retina.1",
        over: Some("record.cpu.ffmpeg.1"),
        bound: Bound::AtMost(0.25),
        beside: Beside::Row("record.cpu.ffmpeg.1"),
    },
    Goal {
        what: "recording 4 cameras of 1080p through retina, processor time as part of ffmpeg's",
        bench: "record.cpu.retina.4",
        over: Some("record.cpu.ffmpeg.4"),
        bound: Bound::AtMost(0.25),
        beside: Beside::Row("record.cpu.ffmpeg.4"),
    },
    Goal {
        what: "recording 16 cameras of 1080p through retina, processor time as part of ffmpeg's",
        bench: "record.cpu.retina.16",
        over: Some("record.cpu.ffmpeg.16"),
        bound: Bound::AtMost(0.25),
        beside: Beside::Row("record.cpu.ffmpeg.16"),
    },
    Goal {
        what: "recording through retina, memory of a further camera",
        bench: "record.memory.retina",
        over: None,
        bound: Bound::AtMost(5.0),
        beside: Beside::Row("record.memory.ffmpeg"),
    },
    Goal {
        what: "clip of 60 s, time as part of ffmpeg's concat with faststart",
        bench: "footage.clip.60-s",
        over: Some("footage.clip.ffmpeg"),
        bound: Bound::AtMost(0.166),
        beside: Beside::Row("footage.clip.ffmpeg"),
    },
    Goal {
        what: "random seek into a month of 16 cameras, p99",
        bench: "footage.seek.p99",
        over: None,
        bound: Bound::AtMost(5.0),
        beside: Beside::Row("footage.seek.p50"),
    },
    Goal {
        what: "live view, first picture in a browser on loopback",
        bench: "live.first-frame",
        over: None,
        bound: Bound::AtMost(1_000.0),
        beside: Beside::Nothing,
    },
    Goal {
        what: "zone engine, one object update, 4 zones of 12 corners",
        bench: "zone.update.12-corners.50-objects",
        over: None,
        bound: Bound::AtMost(1_000.0),
        beside: Beside::Published("Frigate 0.18: 28000 ns"),
    },
    Goal {
        what: "zones and rules, one frame of 100 tracks, 10 zones of 12 corners with filters",
        bench: "zone.frame.100-tracks.10-zones",
        over: None,
        bound: Bound::AtMost(100.0),
        beside: Beside::Row("zone.frame.100-tracks.10-zones-5-lines-everything"),
    },
    Goal {
        what: "tracker, one frame of 50 boxes",
        bench: "tracker.update.50",
        over: None,
        bound: Bound::AtMost(100.0),
        beside: Beside::Row("peer.norfair"),
    },
    Goal {
        what: "tracking of public sequences, least lead in MOTA",
        bench: "mot.lead.mota",
        over: None,
        bound: Bound::AtLeast(0.0),
        beside: Beside::Peers("best of norfair and ByteTrack"),
    },
    Goal {
        what: "tracking of public sequences, least lead in IDF1",
        bench: "mot.lead.idf1",
        over: None,
        bound: Bound::AtLeast(0.0),
        beside: Beside::Peers("best of norfair and ByteTrack"),
    },
    Goal {
        what: "tracking of public sequences, time as part of norfair's",
        bench: "mot.time",
        over: None,
        bound: Bound::AtMost(0.05),
        beside: Beside::Peers("the faster setting of norfair"),
    },
    Goal {
        what: "decode one NanoDet output",
        bench: "decode.nanodet",
        over: None,
        bound: Bound::AtMost(1_000.0),
        beside: Beside::Nothing,
    },
    Goal {
        what: "decode one YOLOX output",
        bench: "decode.yolox",
        over: None,
        bound: Bound::AtMost(1_000.0),
        beside: Beside::Nothing,
    },
    Goal {
        what: "decode one YOLOv8 or YOLO11 output, 84 x 8400",
        bench: "decode.yolov8",
        over: None,
        bound: Bound::AtMost(1_000.0),
        beside: Beside::Nothing,
    },
    Goal {
        what: "decode one YOLO26 output, 300 x 6",
        bench: "decode.yolo-end-to-end",
        over: None,
        bound: Bound::AtMost(1_000.0),
        beside: Beside::Nothing,
    },
    Goal {
        what: "decode one RT-DETR output, 300 queries",
        bench: "decode.rtdetr",
        over: None,
        bound: Bound::AtMost(1_000.0),
        beside: Beside::Nothing,
    },
    Goal {
        what: "decode one D-FINE output, 300 queries",
        bench: "decode.dfine",
        over: None,
        bound: Bound::AtMost(1_000.0),
        beside: Beside::Nothing,
    },
    Goal {
        what: "engine, everything but the model's run, as part of it",
        bench: "engine.overhead",
        over: Some("engine.model"),
        bound: Bound::AtMost(0.15),
        beside: Beside::Row("engine.model"),
    },
    Goal {
        what: "16 cameras, 640x360, 5 pictures per second, static scene: processor cores in all",
        bench: "engine.static.16-cameras",
        over: None,
        bound: Bound::AtMost(0.6),
        beside: Beside::Row("engine.static.looks"),
    },
    Goal {
        what: "frame to event, over the model's own time",
        bench: "engine.latency.over-model",
        over: None,
        bound: Bound::AtMost(40.0),
        beside: Beside::Row("engine.model"),
    },
    Goal {
        what: "DeepStream probes, decode and read of 16 frames of 30 objects",
        bench: "deepstream.probes",
        over: None,
        bound: Bound::AtMost(0.5),
        beside: Beside::Row("deepstream.probes.own"),
    },
    Goal {
        what: "inserts into PostgreSQL from one connection, 1,000 a batch, the server on the same cores",
        bench: "store.postgres.raw",
        over: None,
        bound: Bound::AtLeast(10_000.0),
        beside: Beside::Row("store.raw"),
    },
    Goal {
        what: "write-ahead log of PostgreSQL for an event",
        bench: "store.postgres.raw.wal",
        over: None,
        bound: Bound::AtMost(1.6),
        beside: Beside::Row("store.postgres.raw.size"),
    },
    Goal {
        what: "ingest from 200 edges, mTLS MQTT into SQLite, each commit synchronised",
        bench: "ingest.rate",
        over: None,
        bound: Bound::AtLeast(20_000.0),
        beside: Beside::Row("store.raw"),
    },
    Goal {
        what: "publish to queryable in SQLite, p99 at 10,000 events/s",
        bench: "ingest.queryable.p99",
        over: None,
        bound: Bound::AtMost(250.0),
        beside: Beside::Row("ingest.steady"),
    },
    Goal {
        what: "ingest from 200 edges, mTLS MQTT into PostgreSQL, each commit synchronised",
        bench: "ingest.postgres.rate",
        over: None,
        bound: Bound::AtLeast(10_000.0),
        beside: Beside::Row("store.postgres.raw"),
    },
    Goal {
        what: "ingest into SQLite while ten alert rules of each tenant look at each event",
        bench: "ingest.rules.rate",
        over: None,
        bound: Bound::AtLeast(10_000.0),
        beside: Beside::Row("ingest.rate"),
    },
    Goal {
        what: "ingest into PostgreSQL while ten alert rules of each tenant look at each event",
        bench: "ingest.postgres.rules.rate",
        over: None,
        bound: Bound::AtLeast(5_000.0),
        beside: Beside::Row("ingest.postgres.rate"),
    },
    Goal {
        what: "publish to queryable in PostgreSQL, p99 at 5,000 events/s",
        bench: "ingest.postgres.queryable.p99",
        over: None,
        bound: Bound::AtMost(250.0),
        beside: Beside::Row("ingest.postgres.steady"),
    },
    Goal {
        what: "page of any list at 10 million events in SQLite, the slowest p99",
        bench: "lists.p99",
        over: None,
        bound: Bound::AtMost(30.0),
        beside: Beside::Row("lists.newest.p99"),
    },
    Goal {
        what: "hourly charts of a month at 10 million events in SQLite, the slowest p99",
        bench: "lists.chart",
        over: None,
        bound: Bound::AtMost(200.0),
        beside: Beside::Row("lists.chart.hour"),
    },
    Goal {
        what: "page of any list at 10 million events in PostgreSQL, the slowest p99",
        bench: "lists.postgres.p99",
        over: None,
        bound: Bound::AtMost(30.0),
        beside: Beside::Row("lists.postgres.newest.p99"),
    },
    Goal {
        what: "hourly charts of a month at 10 million events in PostgreSQL, the slowest p99",
        bench: "lists.postgres.chart",
        over: None,
        bound: Bound::AtMost(200.0),
        beside: Beside::Row("lists.postgres.chart.hour"),
    },
    Goal {
        what: "cloud with 2,000 connected idle edges, resident memory",
        bench: "fleet.memory",
        over: None,
        // 120 MB.
        bound: Bound::AtMost(114.4),
        beside: Beside::Row("fleet.memory.without"),
    },
    Goal {
        what: "event to webhook received, p99, 20 alerts/s beside 1,000 events/s",
        bench: "alerts.webhook.p99",
        over: None,
        bound: Bound::AtMost(1_000.0),
        beside: Beside::Row("alerts.webhook.p50"),
    },
];

fn main() -> Result<()> {
    let folder = std::env::current_exe()?.parent().map(|own| own.join("examples")).context("target folder")?;
    let mut rows = BTreeMap::new();
    for program in PROGRAMS {
        for row in run(&folder.join(program))? {
            rows.insert(row.bench.clone(), row);
        }
    }
    if let Ok(peers) = std::env::var("AIVMS_BENCH_PEERS") {
        // Written by scripts/bench, which runs the peers beside us: one row per line.
        for line in std::fs::read_to_string(&peers).context(peers)?.lines() {
            let row: Row = serde_json::from_str(line)?;
            rows.insert(row.bench.clone(), row);
        }
    }
    print(&rows)
}

fn run(program: &PathBuf) -> Result<Vec<Row>> {
    let output = Command::new(program)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{}: built with `--release --examples`?", program.display()))?;
    ensure!(output.status.success(), "{} ended with {}", program.display(), output.status);
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn print(rows: &BTreeMap<String, Row>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "| what | measured | bound | held | beside, in this run unless said |")?;
    writeln!(out, "| --- | ---: | ---: | --- | --- |")?;
    for goal in GOALS {
        if matches!(goal.beside, Beside::Peers(_)) && !rows.contains_key(goal.bench) {
            writeln!(out, "| {} | not measured | | | the peers could not be installed |", goal.what)?;
            continue;
        }
        let row = rows.get(goal.bench).with_context(|| format!("{} was not measured", goal.bench))?;
        let (value, unit) = match goal.over {
            Some(over) => (row.value / rows.get(over).context(over)?.value, "of it"),
            None => (row.value, row.unit.as_str()),
        };
        let (bound, held) = match goal.bound {
            Bound::AtMost(most) => (format!("≤ {most}"), value <= most),
            Bound::AtLeast(least) => (format!("≥ {least}"), value >= least),
        };
        let beside = match goal.beside {
            Beside::Nothing => String::new(),
            Beside::Published(text) => format!("{text} (published)"),
            Beside::Peers(text) => text.to_owned(),
            Beside::Row(name) => match rows.get(name) {
                Some(peer) => format!("{name} {:.1} {}, ratio {:.4}", peer.value, peer.unit, row.value / peer.value),
                None => format!("{name} was not measured"),
            },
        };
        let held = if held { "yes" } else { "NO" };
        writeln!(out, "| {} | {value:.3} {unit} | {bound} | {held} | {beside} |", goal.what)?;
    }
    tracking::print(rows, &mut out)?;
    writeln!(out)?;
    for row in rows.values().filter(|row| !row.bench.starts_with(tracking::PREFIX)) {
        writeln!(out, "{:<28} {:>14.3} {}", row.bench, row.value, row.unit)?;
    }
    Ok(())
}
