//! What the system says of the process, under the names every dashboard knows.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Registry, counted, sampled};

/// Clock ticks in a second, as `/proc` counts them: Linux shows every program 100, whatever its own clock does.
const TICKS_PER_SECOND: u64 = 100;

/// Names the process's figures. One that can't be read is shown as 0.
pub(crate) fn register(registry: &mut Registry) {
    let memory = "Memory of the process that is in RAM";
    sampled(registry, "process_resident_memory_bytes", memory, || resident_bytes().unwrap_or_default());
    let open = "File handles the process holds";
    sampled(registry, "process_open_fds", open, || open_files().unwrap_or_default());
    let most = "File handles the process may hold";
    sampled(registry, "process_max_fds", most, || most_files().unwrap_or_default());
    let threads = "Threads of the process";
    sampled(registry, "process_threads", threads, || status_field("Threads:").unwrap_or_default());
    let processor = "Time of processors the process has used";
    counted(registry, "process_cpu_seconds", processor, || cpu_seconds().unwrap_or_default());
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started = i64::try_from(started.as_secs()).unwrap_or(i64::MAX);
    sampled(registry, "process_start_time_seconds", "When the process started, in Unix time", move || started);
}

fn resident_bytes() -> Option<i64> {
    status_field("VmRSS:").map(|kibibytes| kibibytes.saturating_mul(1024))
}

/// The first number behind `name` in `/proc/self/status`.
fn status_field(name: &str) -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<i64> {
    // Reading the folder takes a handle itself.
    let count = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    i64::try_from(count).ok()
}

fn most_files() -> Option<i64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

fn cpu_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name stands in brackets and may hold anything; user and system time are 12th and 13th after it.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Some(ticks.sum::<u64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_each_figure() {
        let held: Vec<_> = (0..40).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        assert!(open_files().unwrap() >= 40 && open_files() <= most_files());
        drop(held);
        assert!((1 << 20..1 << 40).contains(&resident_bytes().unwrap()), "{:?}", resident_bytes());
        assert!(status_field("Threads:").unwrap() >= 1);
        let begin = std::time::Instant::now();
        let before = cpu_seconds().unwrap();
        let mut spun = 0_u64;
        while cpu_seconds().unwrap() == before {
            spun = std::hint::black_box(spun + 1);
            assert!(begin.elapsed().as_secs() < 60, "a busy process uses time");
        }
    }
}
