//! The configuration file of `nvinfer`, in GLib's format.

use std::path::PathBuf;

use aivms_appliance_core::model::ColourOrder;
use gstreamer::glib;

/// The keys that the appliance's engine writes. The real element knows more and warns of those it does not know.
const KEYS: [&str; 16] = [
    "gie-unique-id",
    "network-type",
    "process-mode",
    "output-tensor-meta",
    "onnx-file",
    "model-engine-file",
    "batch-size",
    "network-mode",
    "infer-dims",
    "net-scale-factor",
    "offsets",
    "model-color-format",
    "maintain-aspect-ratio",
    "symmetric-padding",
    "interval",
    "int8-calib-file",
];
const GROUP: &str = "property";

/// What the file says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub(super) unique_id: u32,
    pub(super) onnx: PathBuf,
    pub(super) batch_size: u32,
    /// Width and height of the network's input, in pixels.
    pub(super) network: (u32, u32),
    pub(super) scale: f32,
    /// Subtracted before scaling, in the order of `colour`.
    pub(super) offsets: [f32; 3],
    pub(super) colour: ColourOrder,
    pub(super) keep_shape: bool,
    pub(super) symmetric: bool,
    /// Batches left out after each one looked at.
    pub(super) interval: u32,
}

/// Reads the text of a file; the error names the key.
pub(super) fn parse(text: &str) -> Result<Config, String> {
    let file = glib::KeyFile::new();
    file.load_from_data(text, glib::KeyFileFlags::NONE).map_err(|error| error.message().to_owned())?;
    check_keys(&file)?;
    let file = File(file);
    expect(&file, "network-type", 100)?;
    expect(&file, "output-tensor-meta", 1)?;
    expect(&file, "process-mode", 1)?;
    let onnx = file.text("onnx-file")?.ok_or("onnx-file: must be set, as there is no TensorRT here")?;
    if file.text("model-engine-file")?.is_some() {
        return Err("model-engine-file: a TensorRT engine can't be run here".to_owned());
    }
    let [3, height, width] = file.numbers("infer-dims")?.ok_or("infer-dims: must be set")?[..] else {
        return Err("infer-dims: must be 3;height;width".to_owned());
    };
    Ok(Config {
        unique_id: file.number("gie-unique-id", 0)?,
        onnx: onnx.into(),
        batch_size: file.number("batch-size", 1)?,
        network: (width, height),
        scale: file.floats("net-scale-factor")?.map_or(Ok(1.0), |scale| one("net-scale-factor", &scale))?,
        offsets: file.floats("offsets")?.map_or(Ok([0.0; 3]), |offsets| three("offsets", &offsets))?,
        colour: match file.number("model-color-format", 0)? {
            0 => ColourOrder::Rgb,
            1 => ColourOrder::Bgr,
            other => return Err(format!("model-color-format: must be 0 or 1, is {other}")),
        },
        keep_shape: file.flag("maintain-aspect-ratio")?,
        symmetric: file.flag("symmetric-padding")?,
        interval: file.number("interval", 0)?,
    })
}

fn check_keys(file: &glib::KeyFile) -> Result<(), String> {
    if let Some(group) = file.groups().iter().find(|group| group.as_str() != GROUP) {
        return Err(format!("group [{group}]: is unknown"));
    }
    let keys = file.keys(GROUP).map_err(|error| error.message().to_owned())?;
    match keys.iter().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => Err(format!("{key}: is an unknown key")),
        None => Ok(()),
    }
}

fn expect(file: &File, key: &str, wanted: u32) -> Result<(), String> {
    match file.number(key, u32::MAX)? {
        found if found == wanted => Ok(()),
        u32::MAX => Err(format!("{key}: must be set to {wanted}")),
        found => Err(format!("{key}: must be {wanted}, is {found}")),
    }
}

fn one(key: &str, values: &[f32]) -> Result<f32, String> {
    let [value] = values[..] else { return Err(format!("{key}: must be one number")) };
    Ok(value)
}

fn three(key: &str, values: &[f32]) -> Result<[f32; 3], String> {
    values.try_into().map_err(|_| format!("{key}: must be three numbers, are {}", values.len()))
}

struct File(glib::KeyFile);

impl File {
    fn text(&self, key: &str) -> Result<Option<String>, String> {
        if !self.0.has_key(GROUP, key).unwrap_or(false) {
            return Ok(None);
        }
        let text = self.0.string(GROUP, key).map_err(|error| format!("{key}: {}", error.message()))?;
        Ok(Some(text.trim().to_owned()))
    }

    fn list<T: std::str::FromStr>(&self, key: &str, kind: &str) -> Result<Option<Vec<T>>, String> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let read = |part: &str| part.trim().parse().map_err(|_| format!("{key}: must be {kind}, is {text:?}"));
        text.trim_end_matches(';').split(';').map(read).collect::<Result<_, _>>().map(Some)
    }

    fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, String> {
        self.list(key, "numbers")
    }

    fn numbers(&self, key: &str) -> Result<Option<Vec<u32>>, String> {
        self.list(key, "whole numbers from 0")
    }

    fn number(&self, key: &str, default: u32) -> Result<u32, String> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        text.parse().map_err(|_| format!("{key}: must be a whole number from 0, is {text:?}"))
    }

    fn flag(&self, key: &str) -> Result<bool, String> {
        match self.number(key, 0)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{key}: must be 0 or 1, is {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[property]\ngie-unique-id=7\nnetwork-type=100\nprocess-mode=1\noutput-tensor-meta=1\n\
        onnx-file=/a/model.onnx\nbatch-size=4\nnetwork-mode=2\ninfer-dims=3;320;416\n\
        net-scale-factor=0.0125\noffsets=1;2.5;3\nmodel-color-format=1\nmaintain-aspect-ratio=1\n\
        symmetric-padding=0\ninterval=2\n";

    #[test]
    fn every_key_of_the_engine_is_read() {
        let config = parse(GOOD).unwrap();
        assert_eq!((config.unique_id, config.batch_size, config.interval), (7, 4, 2));
        assert_eq!((config.network, config.offsets), ((416, 320), [1.0, 2.5, 3.0]));
        assert_eq!((config.colour, config.keep_shape, config.symmetric), (ColourOrder::Bgr, true, false));
        assert_eq!((config.scale, config.onnx), (0.0125, PathBuf::from("/a/model.onnx")));
    }

    #[test]
    fn a_wrong_file_is_refused_by_the_name_of_its_key() {
        let check = |from: &str, to: &str, said: &str| {
            assert!(GOOD.contains(from), "{from}");
            let error = parse(&GOOD.replace(from, to)).expect_err(to);
            assert!(error.contains(said), "{to}: {error}");
        };
        check("interval=2", "intervall=2", "intervall: is an unknown key");
        check("interval=2", "[class-attrs-all]\ntopk=2", "group [class-attrs-all]: is unknown");
        check("interval=2", "interval=-1", "interval: must be a whole number from 0, is \"-1\"");
        check("network-type=100", "network-type=0", "network-type: must be 100, is 0");
        check("process-mode=1\n", "", "process-mode: must be set to 1");
        check("onnx-file=/a/model.onnx", "model-engine-file=/a/b.engine", "onnx-file: must be set");
        check("interval=2", "model-engine-file=/a/b.engine", "model-engine-file");
        check("infer-dims=3;320;416", "infer-dims=1;320;416", "infer-dims: must be 3;height;width");
        check("offsets=1;2.5;3", "offsets=1;2", "offsets: must be three numbers, are 2");
        check("model-color-format=1", "model-color-format=2", "model-color-format: must be 0 or 1, is 2");
        check("symmetric-padding=0", "symmetric-padding=2", "symmetric-padding: must be 0 or 1, is 2");
        check("[property]", "[properties]", "group [properties]: is unknown");
    }
}
