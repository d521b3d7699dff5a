//! Generates the Rust side of the metadata's layout: both layouts from our own header, always; and the SDK's own view of
//! the same structs where an SDK is found, for the crate to compare with ours while it is compiled.
//!
//! An SDK is a folder with NVIDIA's headers: `DEEPSTREAM_DIR`, else the place where the SDK installs itself. Without one
//! nothing but libclang is needed, for any target.

#[path = "build/sdk.rs"]
mod sdk;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything that is generated, from our header and from the SDK's alike. What these structs hold by value must be listed.
const TYPES: &[&str] = &[
    "NvDsBaseMeta",
    "NvDsBatchMeta",
    "NvDsComp_BboxInfo",
    "NvDsFrameMeta",
    "NvDsInferDataType",
    "NvDsInferDims",
    "NvDsInferLayerInfo",
    "NvDsInferNetworkInfo",
    "NvDsInferTensorMeta",
    "NvDsMeta",
    "NvDsMetaCopyFunc",
    "NvDsMetaPool",
    "NvDsMetaReleaseFunc",
    "NvDsMetaType",
    "GstNvDsMetaType",
    "NvDsObjectMeta",
    "NvDsTargetMiscDataBatch",
    "NvDsTargetMiscDataFrame",
    "NvDsTargetMiscDataObject",
    "NvDsTargetMiscDataStream",
    "NvDsUserMeta",
    "NvBbox_Coords",
    "NvOSD_RectParams",
    "NvOSD_TextParams",
    // Only the SDK has these.
    "NvDisplayMetaList",
    "NvDs[A-Za-z]*MetaList",
    "NvDsMetaList",
    "NvDsSensorInfo_meta",
    "NvOSD_ColorParams",
    "NvOSD_FontParams",
    "NvOSD_MaskParams",
    "TRACKER_STATE",
];

fn main() {
    let header = "include/nvds_layout.h";
    println!("cargo:rerun-if-changed={header}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    for abi in ["71", "90"] {
        let builder =
            generator().header(header).clang_arg(format!("-DAIVMS_NVDS_ABI={abi}")).allowlist_type("aivms_.*");
        write(builder, &out.join(format!("abi{abi}.rs")));
    }
    sdk::generate(&out);
}

/// What all generated modules have in common. Types of GLib and GStreamer come from their own crates, so a struct that
/// needs a type nobody listed is a compile error and not a guess.
fn generator() -> bindgen::Builder {
    let mut builder = bindgen::Builder::default()
        .allowlist_recursively(false)
        .use_core()
        .prepend_enum_name(false)
        .generate_comments(false)
        .formatter(bindgen::Formatter::None)
        .raw_line("use crate::foreign::*;");
    for name in TYPES {
        // The struct's tag has an underscore in the SDK; types within are named after their struct.
        builder = builder.allowlist_type(format!("_?{name}(__bindgen_.*)?"));
    }
    builder
}

fn write(builder: bindgen::Builder, file: &Path) {
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(error) => fail(&format!(
            "bindgen could not read the headers for {}: {error}\n(libclang comes with `apt-get install libclang1`)",
            file.display()
        )),
    };
    // One line for each item, so that a compiler's message about one does not show them all.
    let text = bindings.to_string().replace(" ; ", ";\n").replace(" } ", " }\n");
    if let Err(error) = fs::write(file, text) {
        fail(&format!("cannot write {}: {error}", file.display()));
    }
}

/// Ends the build with a message instead of a panic's trace.
fn fail(message: &str) -> ! {
    eprintln!("error: {message}");
    std::process::exit(1)
}
