//! Finds an SDK's headers and generates the module `sdk` from them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{fail, generator, write};

/// Where the SDK's packages put it.
const INSTALLED: &str = "/opt/nvidia/deepstream/deepstream";

/// Where a folder of an SDK may keep its headers: itself (headers alone), NVIDIA's published tree, an installed SDK.
const PLACES: &[&str] = &["", "includes", "sources/includes", "include", "src/includes"];

/// The headers that declare what we use, in an order in which each finds what it needs.
const HEADERS: &[&str] = &["nvdsmeta.h", "gstnvdsmeta.h", "nvdsinfer.h", "gstnvdsinfer.h", "nvds_tracker_meta.h"];

pub(crate) fn generate(out: &Path) {
    println!("cargo:rerun-if-env-changed=DEEPSTREAM_DIR");
    println!("cargo:rustc-check-cfg=cfg(deepstream_sdk)");
    println!("cargo:rustc-check-cfg=cfg(deepstream_sdk, values(\"abi71\", \"abi90\"))");
    let Some(folder) = find() else { return };
    // Only of what is there: cargo takes a file that is not as changed, every time.
    println!("cargo:rerun-if-changed={}", folder.display());
    let (major, minor) = version(&folder);
    let Some(abi) = abi_of(major, minor) else {
        println!(
            "cargo:warning=the DeepStream SDK in {} is {major}.{minor}, whose layout is not known; it is not compared \
             with ours (known: 7.1, 9.0, 9.1)",
            folder.display()
        );
        return;
    };
    let mut builder = generator().clang_arg(format!("-I{}", folder.display()));
    for include in gstreamer_includes() {
        builder = builder.clang_arg(format!("-I{}", include.display()));
    }
    if let Some(folder) = sysroot() {
        builder = builder.clang_arg(format!("--sysroot={folder}"));
    }
    if let Some(include) = compiler_includes() {
        builder = builder.clang_args(["-idirafter".to_owned(), include]);
    }
    let all: String = HEADERS.iter().map(|name| format!("#include \"{name}\"\n")).collect();
    write(builder.header_contents("aivms_sdk.h", &all), &out.join("sdk.rs"));
    println!("cargo:rustc-cfg=deepstream_sdk");
    println!("cargo:rustc-cfg=deepstream_sdk=\"{abi}\"");
    println!("cargo:rustc-env=AIVMS_DEEPSTREAM_SDK={major}.{minor} in {}", folder.display());
}

/// The folder with nvdsmeta.h. A `DEEPSTREAM_DIR` that has none may be one of libraries alone: said, not refused.
fn find() -> Option<PathBuf> {
    let named = env::var_os("DEEPSTREAM_DIR").filter(|value| !value.is_empty());
    let root = PathBuf::from(named.clone().unwrap_or_else(|| INSTALLED.into()));
    let found = PLACES.iter().map(|place| root.join(place)).find(|folder| folder.join("nvdsmeta.h").is_file());
    if found.is_none() && named.is_some() {
        println!(
            "cargo:warning=DEEPSTREAM_DIR is {}, but there is no nvdsmeta.h in it or its includes/ or \
             sources/includes/; the layout is not compared with an SDK's",
            root.display()
        );
    }
    found.map(|folder| folder.canonicalize().unwrap_or(folder))
}

/// Major and minor version, as nvds_version.h defines them.
fn version(folder: &Path) -> (u32, u32) {
    let file = folder.join("nvds_version.h");
    let text =
        fs::read_to_string(&file).unwrap_or_else(|error| fail(&format!("cannot read {}: {error}", file.display())));
    let number = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name))
                .then(|| words.next()?.parse().ok())
                .flatten()
        })
    };
    match (number("NVDS_VERSION_MAJOR"), number("NVDS_VERSION_MINOR")) {
        (Some(major), Some(minor)) => (major, minor),
        _ => fail(&format!("{} does not say which version it is of", file.display())),
    }
}

/// The layout that a version has. Later 9.x are compared with the newest one known: a difference stops the build.
fn abi_of(major: u32, minor: u32) -> Option<&'static str> {
    match (major, minor) {
        (7, 1) => Some("abi71"),
        (9, _) => Some("abi90"),
        _ => None,
    }
}

/// Include folders of GStreamer for the target, without the host's own when building for another machine.
fn gstreamer_includes() -> Vec<PathBuf> {
    let mut config = pkg_config::Config::new();
    config.cargo_metadata(false).print_system_libs(false);
    let modules = ["gstreamer-1.0", "gstreamer-base-1.0", "gstreamer-video-1.0", "gmodule-2.0"];
    let mut folders = Vec::new();
    for module in modules {
        let library = config.probe(module).unwrap_or_else(|error| {
            fail(&format!("an SDK's headers need those of GStreamer: {error}"));
        });
        for folder in library.include_paths {
            if !folders.contains(&folder) && !is_of_another_machine(&folder) {
                folders.push(folder);
            }
        }
    }
    folders
}

/// Whether this is the host's own C library, which pkg-config names, while building for another machine.
fn is_of_another_machine(folder: &Path) -> bool {
    let architecture =
        |triple: &str| env::var(triple).unwrap_or_default().split('-').next().unwrap_or_default().to_owned();
    let (host, target) = (architecture("HOST"), architecture("TARGET"));
    host != target && folder == Path::new(&format!("/usr/include/{host}-linux-gnu"))
}

/// stddef.h and its like, which libclang brings only with a package of its own: the C compiler's serve as well. They come
/// last, so that libclang's own win where they are.
fn compiler_includes() -> Option<String> {
    ask_compiler("-print-file-name=include")
}

/// Where the target's C library is, when the C compiler builds for another machine.
fn sysroot() -> Option<String> {
    ask_compiler("-print-sysroot").filter(|folder| folder != "/")
}

/// What the target's C compiler prints for an option, if it is a folder's path.
fn ask_compiler(option: &str) -> Option<String> {
    let target = env::var("TARGET").ok()?.replace('-', "_");
    let names = [format!("CC_{target}"), "TARGET_CC".to_owned(), "CC".to_owned()];
    let compiler = names.iter().find_map(|name| env::var(name).ok()).unwrap_or_else(|| "cc".to_owned());
    let mut words = compiler.split_whitespace();
    let output = Command::new(words.next()?).args(words).arg(option).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Path::new(&folder).is_absolute().then_some(folder)
}
