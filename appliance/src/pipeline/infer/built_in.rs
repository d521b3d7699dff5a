//! Models whose description is built in, and the commands that make an ONNX file of a model in another form.

use std::path::Path;

use aivms_appliance_core::model::ModelDescription;

/// Models of one architecture, which are fed and read alike.
struct Kind {
    /// Names before the size.
    stems: &'static [&'static str],
    /// What tells the sizes apart.
    sizes: &'static [&'static str],
    /// Pixels of the input, which a name may end in.
    side: &'static str,
    description: &'static str,
    /// The command that makes the ONNX file, from the model's name and the file of its weights.
    command: fn(&str, &str) -> String,
}

const YOLO_SIZES: &[&str] = &["n", "s", "m", "l", "x"];

const KINDS: [Kind; 10] = [
    Kind {
        stems: &["nanodet-"],
        sizes: &["g"],
        side: "416",
        description: include_str!("../../../models/nanodet-g-416.toml"),
        command: |_, _| "make setup".to_owned(),
    },
    Kind {
        stems: &["yolox-"],
        sizes: &["nano", "tiny"],
        side: "416",
        description: include_str!("../../../models/yolox-nano-416.toml"),
        command: yolox,
    },
    Kind {
        stems: &["yolox-"],
        sizes: &["s", "m", "l", "x"],
        side: "640",
        description: include_str!("../../../models/yolox-s-640.toml"),
        command: yolox,
    },
    Kind {
        stems: &["yolov8"],
        sizes: YOLO_SIZES,
        side: "640",
        description: include_str!("../../../models/yolov8n-640.toml"),
        command: yolo,
    },
    Kind {
        stems: &["yolo11", "yolo12"],
        sizes: YOLO_SIZES,
        side: "640",
        description: include_str!("../../../models/yolo11n-640.toml"),
        command: yolo,
    },
    Kind {
        stems: &["yolo26"],
        sizes: YOLO_SIZES,
        side: "640",
        description: include_str!("../../../models/yolo26n-640.toml"),
        command: yolo_end_to_end,
    },
    Kind {
        stems: &["yolov10"],
        sizes: &["n", "s", "m", "b", "l", "x"],
        side: "640",
        description: include_str!("../../../models/yolov10n-640.toml"),
        command: yolo_end_to_end,
    },
    Kind {
        stems: &["rtdetr-"],
        sizes: &["r18", "r34", "r50", "r101"],
        side: "640",
        description: include_str!("../../../models/rtdetr-r18-640.toml"),
        command: |name, _| optimum(&format!("PekingU/{}vd", name.replace('-', "_")), name),
    },
    Kind {
        stems: &["rtdetr-"],
        sizes: &["l", "x"],
        side: "640",
        description: include_str!("../../../models/rtdetr-r18-640.toml"),
        command: yolo,
    },
    Kind {
        stems: &["dfine-"],
        sizes: YOLO_SIZES,
        side: "640",
        description: include_str!("../../../models/dfine-n-640.toml"),
        command: |name, _| optimum(&format!("ustc-community/{}-coco", dfine_in_full(name)), name),
    },
];

/// The description of a model by its file name, in which `-` and `_` are the same and the input's side may be left out.
pub(super) fn description(model: &Path) -> Option<ModelDescription> {
    toml::from_str(find(model)?.0.description).ok()
}

/// The command that makes a model's ONNX file, for a model that is known by its name.
pub(super) fn how_to_make(model: &Path) -> Option<String> {
    let (kind, name) = find(model)?;
    Some((kind.command)(&name, &format!("{name}.pt")))
}

/// What to say of a file of another form: what it is, and how it becomes an ONNX file; `None` for a name that may be
/// one.
#[must_use]
pub fn refuse_other_form(model: &Path) -> Option<String> {
    let extension = model.extension()?.to_str()?.to_ascii_lowercase();
    let shown = model.display().to_string();
    let convert = |is: &str, command: String| {
        Some(format!(
            "is {is}, which can't be run directly; convert it with `{command}` and name the .onnx file it makes"
        ))
    };
    let trained = "a file of training weights";
    match (extension.as_str(), find(model)) {
        ("pt" | "pth", Some((kind, name))) => convert(trained, (kind.command)(&name, &shown)),
        ("pt", None) => convert(trained, yolo("", &shown)),
        ("pth", None) => Some(format!(
            "is {trained}, which can't be run directly; export it to ONNX with the project that trained it, as \
             docs/ref/models.md shows, and name the .onnx file"
        )),
        ("safetensors", _) => {
            convert(trained, optimum(&model.parent().unwrap_or(Path::new(".")).display().to_string(), "onnx"))
        }
        ("engine" | "plan" | "trt", _) => Some(
            "is an engine built for one graphics card and one version of TensorRT; name the .onnx file it was built from"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The kind of a model and its name without the input's side.
fn find(model: &Path) -> Option<(&'static Kind, String)> {
    let name = model.file_stem()?.to_str()?.to_ascii_lowercase().replace('_', "-");
    KINDS.iter().find_map(|kind| {
        let bare = name.strip_suffix(kind.side).and_then(|name| name.strip_suffix('-')).unwrap_or(&name);
        let sized = |stem: &&str| bare.strip_prefix(stem).is_some_and(|size| kind.sizes.contains(&size));
        kind.stems.iter().any(sized).then(|| (kind, bare.to_owned()))
    })
}

fn yolo(_name: &str, weights: &str) -> String {
    format!("yolo export model={weights} format=onnx imgsz=640")
}

/// Newer exporters leave out the part of the network that needs no suppression unless told otherwise.
fn yolo_end_to_end(name: &str, weights: &str) -> String {
    format!("{} nms=False", yolo(name, weights))
}

/// Run in the YOLOX project's folder.
fn yolox(name: &str, weights: &str) -> String {
    let weights = weights.trim_end_matches(".pt").trim_end_matches(".pth");
    format!("python3 tools/export_onnx.py -n {name} -c {weights}.pth --output-name {name}.onnx")
}

fn optimum(model: &str, folder: &str) -> String {
    format!("optimum-cli export onnx --model {model} --task object-detection {folder}")
}

/// `dfine-nano` of `dfine-n`, as the published weights are called.
fn dfine_in_full(name: &str) -> String {
    let (stem, size) = name.split_at(name.len() - 1);
    let size = match size {
        "n" => "nano",
        "s" => "small",
        "m" => "medium",
        "l" => "large",
        _ => "xlarge",
    };
    format!("{stem}{size}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_appliance_core::model::Family;

    #[test]
    fn a_known_name_has_its_description_with_any_size_with_or_without_the_inputs_side() {
        let family = |name: &str| description(Path::new(name)).map(|model| model.family);
        assert_eq!(family("/m/nanodet_g_416.onnx"), Some(Family::Nanodet));
        assert_eq!(family("yolox-nano-416.onnx"), Some(Family::Yolox));
        assert_eq!(description(Path::new("yolox_x.onnx")).unwrap().input.width, 640);
        assert_eq!(family("yolo11n-640.onnx"), Some(Family::Yolov8));
        assert_eq!(family("YOLOv8x.onnx"), Some(Family::Yolov8));
        assert_eq!(family("yolo26s.onnx"), Some(Family::YoloEndToEnd));
        assert_eq!(family("yolov10b-640.onnx"), Some(Family::YoloEndToEnd));
        assert_eq!(family("rtdetr-r101.onnx"), Some(Family::Rtdetr));
        assert_eq!(family("rtdetr-l.onnx"), Some(Family::Rtdetr));
        assert_eq!(family("dfine-n-640.onnx"), Some(Family::Dfine));
        for other in ["yolo11n-320.onnx", "yolo11.onnx", "yolo11n-seg.onnx", "yard.onnx", "-640.onnx", "", ".onnx"] {
            assert_eq!(family(other), None, "{other}");
        }
    }

    #[test]
    fn every_shipped_description_is_built_in_under_its_own_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let shipped: ModelDescription = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            assert_eq!(description(&file), Some(shipped), "{file:?}");
            assert!(how_to_make(&file).is_some());
        }
    }

    #[test]
    fn a_model_of_another_form_is_told_how_to_become_one() {
        let said = |name: &str| refuse_other_form(Path::new(name)).unwrap_or_default();
        for (name, command) in [
            ("/m/yard.pt", "`yolo export model=/m/yard.pt format=onnx imgsz=640`"),
            ("yolo26n.pt", "`yolo export model=yolo26n.pt format=onnx imgsz=640 nms=False`"),
            ("yolox_s.pth", "`python3 tools/export_onnx.py -n yolox-s -c yolox_s.pth --output-name yolox-s.onnx`"),
            ("dfine_n.pth", "--model ustc-community/dfine-nano-coco --task object-detection dfine-n`"),
            ("w/model.safetensors", "`optimum-cli export onnx --model w --task object-detection onnx`"),
            ("yard.pth", "docs/ref/models.md"),
            ("yard.engine", "name the .onnx file it was built from"),
        ] {
            assert!(said(name).contains(command), "{name}: {}", said(name));
        }
        let made = |name: &str| how_to_make(Path::new(name)).unwrap_or_default();
        assert_eq!(made("/m/yolo11n-640.onnx"), "yolo export model=yolo11n.pt format=onnx imgsz=640");
        assert!(made("rtdetr-r18.onnx").contains("--model PekingU/rtdetr_r18vd"));
        assert!(made("yolox-s.onnx").contains("-c yolox-s.pth"), "{}", made("yolox-s.onnx"));
        for name in ["yard.onnx", "yard", "yard.v2", ""] {
            assert_eq!(refuse_other_form(Path::new(name)), None, "{name}");
        }
    }
}
