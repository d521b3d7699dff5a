//! The commands of the tour of the API, taken from it and run by a shell, with a real cloud and a real edge.

use std::path::{Path, PathBuf};
use std::process::Command;

use aivms_tests::fixtures;
use aivms_tests::site::{Cloud, CloudSettings, free_port};
use anyhow::{Context, Result, ensure};

const TOUR: &str = include_str!("../../docs/guide/api-tour.md");

/// A terminal in a folder of its own.
struct Terminal {
    directory: PathBuf,
    variables: Vec<(&'static str, String)>,
    path: String,
}

impl Terminal {
    fn open(directory: &Path, cloud: &Cloud, hook_port: u16) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("variables"), "")?;
        let cached = |name: &str| anyhow::Ok(fixtures::cached(name)?.canonicalize()?.display().to_string());
        let model_toml = fixtures::repository().join("appliance/models/nanodet-g-416.toml");
        let variables = vec![
            ("CLOUD_URL", cloud.base.clone()),
            ("EMAIL", "guide@tour.example".to_owned()),
            ("PASSWORD", "vivid copper lantern drift".to_owned()),
            ("HOOK_PORT", hook_port.to_string()),
            ("VIDEO", format!("file://{}", cached("video/vtest.mp4")?)),
            ("MODEL", cached("models/nanodet-g-416.onnx")?),
            ("MODEL_TOML", model_toml.canonicalize()?.display().to_string()),
            ("ONNXRUNTIME", cached("onnxruntime/libonnxruntime.so")?),
        ];
        let programs = fixtures::program("aivms-appliance")?;
        let programs = programs.parent().context("its folder")?.display().to_string();
        let path = format!("{programs}:{}", std::env::var("PATH")?);
        Ok(Self { directory: directory.to_owned(), variables, path })
    }

    /// Runs a block; the shell's variables are carried from one to the next, as in one terminal.
    fn run(&self, block: &str) -> Result<()> {
        let script = format!("set -eu -o pipefail -a\n. ./variables\n{block}\nexport -p > variables");
        let mut shell = Command::new("timeout");
        shell.args(["--foreground", "120", "bash", "-c"]).arg(script);
        shell.current_dir(&self.directory).env_clear().env("PATH", &self.path);
        let out = shell.envs(self.variables.iter().cloned()).output()?;
        let log = std::fs::read_to_string(self.directory.join("appliance.log")).unwrap_or_default();
        let log: Vec<_> = log.lines().rev().take(20).collect();
        ensure!(
            out.status.success(),
            "{block}\n{}{}\n{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr),
            log.join("\n")
        );
        Ok(())
    }

    /// A process of the tour, as it has written it down in this file.
    fn process(&self, file: &str) -> Result<u32> {
        Ok(std::fs::read_to_string(self.directory.join(file))?.trim().parse()?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The tour ends them; a tour that was broken off does not.
        for program in ["appliance.pid", "receiver.pid"] {
            if let Ok(pid) = self.process(program) {
                let _ = Command::new("kill").arg(pid.to_string()).output();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_of_the_api_goes_as_it_is_written() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let hook_port = free_port()?;
    let more = format!(
        "[notifications]\nallow_http = true\nallowed_networks = [\"127.0.0.1/32\"]\nallowed_ports = [{hook_port}]\n"
    );
    let settings = CloudSettings { more, ..CloudSettings::default() };
    let cloud = Cloud::start_with(&directory.path().join("cloud"), settings).await?;
    let terminal = Terminal::open(&directory.path().join("terminal"), &cloud, hook_port)?;
    let blocks: Vec<_> = TOUR.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    ensure!(blocks.len() >= 23, "only {} blocks", blocks.len());
    for block in blocks {
        let run = || terminal.run(block);
        tokio::task::block_in_place(run)?;
        if block.contains("echo $! > appliance.pid") {
            an_appliance_listens_on_nothing(terminal.process("appliance.pid")?).await?;
        }
    }
    Ok(())
}

/// Looks at every socket of a fresh edge that works: it calls, and nobody can call it.
async fn an_appliance_listens_on_nothing(pid: u32) -> Result<()> {
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))?
            .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.display().to_string()))
            .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}"))?;
            for row in text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()) {
                // State 0A is listening; an unconnected UDP socket (07) takes from anybody.
                let is_open = row[3] == "0A" || (table.starts_with("udp") && row[3] == "07");
                ensure!(!is_open || !own.iter().any(|inode| inode == row[9]), "{table}: it listens: {row:?}");
            }
        }
    }
    Ok(())
}
