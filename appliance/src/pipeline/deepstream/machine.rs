//! What an engine of TensorRT is bound to: the version of TensorRT and the device.

use std::ffi::OsStr;
use std::path::Path;

use super::error::DeepStreamError;

/// Where TensorRT's library lies on Jetson, on PCs, and in images of Yocto.
const LIBRARIES: [&str; 5] =
    ["usr/lib/aarch64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib", "usr/lib64", "usr/local/tensorrt/lib"];
const LIBRARY: &str = "libnvinfer.so.";

/// The machine as far as engines depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// Such as `10.3.0`.
    pub(super) tensorrt: String,
    /// Such as `NVIDIA Jetson Orin Nano Developer Kit`.
    pub(super) device: String,
}

impl Machine {
    /// Reads the machine whose file system begins at `root`.
    pub(super) fn read(root: &Path) -> Result<Self, DeepStreamError> {
        let missing = |what: &str| DeepStreamError::Machine(what.to_owned());
        let tensorrt = tensorrt(root).ok_or_else(|| missing("TensorRT (libnvinfer) is not installed"))?;
        let device = device(root).ok_or_else(|| missing("this is no Jetson and has no NVIDIA driver"))?;
        Ok(Self { tensorrt, device })
    }
}

/// The longest version that a name of the library has; shorter ones are links to it.
fn tensorrt(root: &Path) -> Option<String> {
    let folders = LIBRARIES.iter().filter_map(|folder| std::fs::read_dir(root.join(folder)).ok());
    let names = folders.flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions = names.filter_map(|name| name.strip_prefix(LIBRARY).map(str::to_owned));
    let numbers = |version: &str| version.split('.').map(str::parse::<u32>).collect::<Result<Vec<_>, _>>().ok();
    versions.filter_map(|version| Some((numbers(&version)?, version))).max().map(|(_, version)| version)
}

fn device(root: &Path) -> Option<String> {
    let tidy =
        |text: String| Some(text.trim_matches(['\0', ' ', '\n', '\t']).to_owned()).filter(|text| !text.is_empty());
    if let Ok(model) = std::fs::read_to_string(root.join("proc/device-tree/model")) {
        return tidy(model);
    }
    let mut cards: Vec<_> = std::fs::read_dir(root.join("proc/driver/nvidia/gpus")).ok()?.flatten().collect();
    cards.sort_by_key(std::fs::DirEntry::file_name);
    let card = cards.iter().find(|card| card.file_name() != OsStr::new("power"))?;
    let text = std::fs::read_to_string(card.path().join("information")).ok()?;
    text.lines().find_map(|line| tidy(line.strip_prefix("Model:")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_jetson_is_known_by_its_device_tree_and_its_library() {
        let root = tempfile::tempdir().unwrap();
        assert!(Machine::read(root.path()).unwrap_err().to_string().contains("TensorRT"));
        for name in ["libnvinfer.so", "libnvinfer.so.10", "libnvinfer.so.10.3.0", "libnvinfer_plugin.so.10.3.0"] {
            put(root.path(), &format!("usr/lib/aarch64-linux-gnu/{name}"), "");
        }
        assert!(Machine::read(root.path()).unwrap_err().to_string().contains("no Jetson"));
        put(root.path(), "proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0");
        let machine = Machine::read(root.path()).unwrap();
        assert_eq!(
            (machine.tensorrt.as_str(), machine.device.as_str()),
            ("10.3.0", "NVIDIA Jetson Orin Nano Developer Kit")
        );
    }

    #[test]
    fn a_card_is_known_by_its_drivers_word_and_of_two_libraries_the_newer_counts() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "usr/lib/x86_64-linux-gnu/libnvinfer.so.9.5.0", "");
        put(root.path(), "usr/lib/x86_64-linux-gnu/libnvinfer.so.10.16.2", "");
        put(root.path(), "proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA T4\nIRQ: 3\n");
        let machine = Machine::read(root.path()).unwrap();
        assert_eq!((machine.tensorrt.as_str(), machine.device.as_str()), ("10.16.2", "NVIDIA T4"));
    }
}
