//! The program itself, which finds the stand-ins as it would find NVIDIA's plugins.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::site::{cache, nvidia};

/// Longest wait for the first person in the video.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a DeepStream of NVIDIA's metadata libraries and the stand-ins, and a camera that shows the video.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(libraries: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (lib, plugins) = (folder.path().join("ds/lib"), folder.path().join("plugins"));
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::create_dir(&plugins).unwrap();
        for name in ["libnvds_meta.so", "libnvdsgst_meta.so"] {
            std::fs::copy(libraries.join(name), lib.join(name)).unwrap();
        }
        std::fs::write(lib.join("libnvds_nvmultiobjecttracker.so"), "").unwrap();
        std::fs::copy(standin(), plugins.join("libaivms_standin.so")).unwrap();
        let settings = format!(
            "data_dir = 'data'\ncameras = 'cameras.json'\n[detection]\nengine = 'deepstream'\ndeepstream_dir = {:?}\n\
             model = {:?}\n",
            folder.path().join("ds"),
            cache("models/nanodet-g-416.onnx")
        );
        std::fs::write(folder.path().join("appliance.toml"), settings).unwrap();
        let cameras = serde_json::json!({ "cameras": [{
            "id": "street", "name": "Street", "url": format!("file://{}", cache("video/vtest.avi").display()),
            "zones": [{ "id": "all", "name": "All", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]] }],
        }] });
        std::fs::write(folder.path().join("cameras.json"), cameras.to_string()).unwrap();
        Self(folder)
    }

    fn command(&self, name: &str) -> Command {
        let folder = self.0.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_aivms-appliance"));
        for set in ["CLOUD_URL", "EDGE_SECRET", "DETECTION_MODEL", "DETECTION_CONFIDENCE", "DETECTION_FPS"] {
            command.env_remove(set);
        }
        command.env("EDGE_ID", "edge_1").env("ORT_DYLIB_PATH", cache("onnxruntime/libonnxruntime.so"));
        command.env("GST_PLUGIN_PATH", folder.join("plugins")).env("GST_REGISTRY", folder.join("registry"));
        command.env("AIVMS_STANDIN_META", folder.join("ds/lib"));
        command.current_dir(folder).args([name, "--config", "appliance.toml"]);
        command
    }

    fn says(&self, name: &str) -> String {
        String::from_utf8(self.command(name).output().unwrap().stdout).unwrap()
    }
}

/// The plugin, which is built with the tests.
fn standin() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libaivms_standin.so")
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_program_finds_deepstream_and_tells_who_enters_a_zone() {
    // The program and the plugin share NVIDIA's libraries; our own would be in each of them once.
    let Some(libraries) = nvidia() else { return };
    let machine = Machine::new(&libraries);
    let said = machine.says("doctor");
    assert!(said.contains("ok    engine         DeepStream in "), "{said}");
    let mut running = Running(machine.command("run").spawn().unwrap());
    let start = Instant::now();
    while !machine.says("why").contains("street/all: person ") {
        assert!(start.elapsed() < PATIENCE && running.0.try_wait().unwrap().is_none(), "nobody enters");
        std::thread::sleep(Duration::from_millis(200));
    }
}
