use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::pipeline::deepstream::machine::Machine;
use crate::pipeline::deepstream::onnx::OnnxInput;

const MODEL: &str = include_str!("../../../../models/yolox-nano-416.toml");

/// A machine whose trtexec is a script: the real one runs nowhere but on NVIDIA's hardware.
struct Site {
    root: tempfile::TempDir,
    network: Network,
    settings: DeepStreamSettings,
}

impl Site {
    fn new(script: &str, any_batch: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join(TRTEXEC);
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let onnx = root.path().join("m.onnx");
        std::fs::write(&onnx, "model").unwrap();
        let input = OnnxInput { name: "images".to_owned(), any_batch };
        let model = toml::from_str(MODEL).unwrap();
        let network = Network { onnx: onnx.clone(), input, model, digest: "ab".repeat(32), changed: None };
        let settings = DeepStreamSettings {
            model: onnx,
            description: None,
            dir: root.path().to_owned(),
            work_dir: root.path().join("work"),
            engines_dir: root.path().join("engines"),
            precision: Precision::Fp16,
            calibration: None,
            batch: 8,
            interval: 0,
        };
        Self { root, network, settings }
    }

    fn key(&self) -> EngineKey {
        let machine = Machine { tensorrt: "10.3.0".to_owned(), device: "test".to_owned() };
        EngineKey::new(self.network.digest.clone(), (416, 416), 8, Precision::Fp16, machine)
    }

    fn build(&self) -> (Result<PathBuf, DeepStreamError>, Vec<String>) {
        let (mut said, key) = (vec![], self.key());
        let mut say = |line: &str| said.push(line.to_owned());
        let (settings, network, root) = (&self.settings, &self.network, self.root.path());
        let cache = EngineCache::new(&self.settings.engines_dir);
        let built = Build { settings, network, key: &key, root, say: &mut say }.run(&cache);
        (built, said)
    }

    fn left_behind(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.settings.engines_dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Writes what `--saveEngine` names.
const BUILDS: &str = r#"
echo "trtexec $*"
for argument; do case "$argument" in --saveEngine=*) printf program > "${argument#--saveEngine=}";; esac; done
"#;

#[test]
fn an_engine_is_built_tried_and_found_again_with_its_progress_told() {
    let site = Site::new(BUILDS, false);
    let (built, said) = site.build();
    let path = built.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"program");
    assert_eq!(EngineCache::new(&site.settings.engines_dir).find(&site.key()).unwrap(), Some(path));
    assert!(said[0].contains("--onnx=") && said[0].contains("--fp16") && !said[0].contains("Shapes"), "{said:?}");
    assert!(said.iter().any(|line| line.contains("--loadEngine=")), "{said:?}");
    assert_eq!(site.left_behind().len(), 3, "the engine, its record and the lock");
}

#[test]
fn a_failed_build_leaves_nothing_and_shows_what_the_builder_said() {
    let site = Site::new("echo 'Unsupported operator' >&2; exit 3", false);
    let text = site.build().0.unwrap_err().to_string();
    assert!(text.contains("Unsupported operator") && text.contains('3'), "{text}");
    assert_eq!(site.left_behind(), ["build.lock"]);
}

#[test]
fn an_engine_that_does_not_load_replaces_nothing() {
    let site = Site::new(BUILDS, false);
    let path = site.build().0.unwrap();
    let program = site.root.path().join(TRTEXEC);
    let worse = format!("#!/bin/sh\ncase \"$*\" in *--loadEngine*) echo broken; exit 1;; esac\n{BUILDS}");
    std::fs::write(&program, worse.replace("printf program", "printf worse")).unwrap();
    assert!(site.build().0.unwrap_err().to_string().contains("broken"));
    assert_eq!(std::fs::read(path).unwrap(), b"program");
    std::fs::write(&program, "#!/bin/sh\nexit 0\n").unwrap();
    assert!(site.build().0.unwrap_err().to_string().contains("no engine"));
}

#[test]
fn a_build_that_would_not_fit_is_not_begun() {
    let site = Site::new("exit 9", false);
    std::fs::create_dir_all(site.root.path().join("proc")).unwrap();
    std::fs::write(site.root.path().join("proc/meminfo"), "MemTotal: 8 kB\nMemAvailable:  102400 kB\n").unwrap();
    let text = site.build().0.unwrap_err().to_string();
    assert!(text.contains("100 MiB of memory") && text.contains("stop the appliance"), "{text}");
}

#[test]
fn a_model_with_an_open_batch_is_built_for_one_frame_up_to_all() {
    let site = Site::new("", true);
    let engine = Path::new("/e");
    let arguments = build_arguments(&site.network, &site.key(), None, engine);
    let shapes: Vec<_> = arguments.iter().filter(|argument| argument.contains("Shapes")).collect();
    assert_eq!(
        shapes,
        ["--minShapes=images:1x3x416x416", "--optShapes=images:8x3x416x416", "--maxShapes=images:8x3x416x416"]
    );
    let int8 = EngineKey { precision: Precision::Int8, ..site.key() };
    let arguments = build_arguments(&site.network, &int8, Some(Path::new("/table")), engine);
    assert!(["--int8", "--fp16", "--calib=/table"].iter().all(|wanted| arguments.iter().any(|one| one == wanted)));
}
