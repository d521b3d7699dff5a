//! A test camera as a program: to be killed, or stopped to make a blackhole of it (`kill -STOP`).
//!
//! It says its port on a line of its standard output when it is ready, and takes orders as lines of its standard input:
//! `freeze PATH`, `thaw PATH`, `select PATH CLIP`, `jump PATH SECONDS`. It ends with its input.

use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;

use aivms_rig::{Audio, Clip, ClipSpec, Codec, Mount, TestCamera};
use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;

/// A network camera for tests, on loopback; its user is `viewer`, its password `correct horse`.
#[derive(Parser)]
struct Arguments {
    /// Port; 0 for any.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Streams with equal clips: their paths are `/main` for one, else `/1`, `/2` and so on.
    #[arg(long, default_value_t = 1)]
    streams: u32,
    /// Clips as words of `h264` or `h265`, `WIDTHxHEIGHT`, `NUMBERfps`, `NUMBERs`, `NUMBERb` (B-frames), `NUMBERnoise`,
    /// `NUMBERkbps`, `aac`, `pcma` or `pcmu`, joined by commas. The first is sent until another one is selected.
    #[arg(default_value = "h264,640x360,15fps")]
    clips: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let encode = |words: &String| Clip::encode(read_spec(words)?).map(Arc::new);
    let clips = arguments.clips.iter().map(encode).collect::<Result<Vec<_>>>()?;
    let path = |number: u32| if arguments.streams == 1 { "/main".to_owned() } else { format!("/{number}") };
    let mounts = (1..=arguments.streams).map(|number| Mount::of_clips(&path(number), &clips)).collect();
    let camera = TestCamera::start(mounts, arguments.port)?;
    writeln!(stdout(), "{}", camera.port())?;
    for line in stdin().lock().lines() {
        if let Err(error) = obey(&camera, &line?) {
            writeln!(stdout(), "{error}")?;
        }
    }
    Ok(())
}

fn obey(camera: &TestCamera, line: &str) -> Result<()> {
    let words: Vec<_> = line.split_whitespace().collect();
    let faults = |path: &str| {
        camera
            .paths()
            .any(|known| known == path)
            .then(|| camera.faults(path))
            .ok_or_else(|| anyhow!("no stream {path}"))
    };
    match words[..] {
        ["freeze", path] => faults(path)?.freeze(true),
        ["thaw", path] => faults(path)?.freeze(false),
        ["select", path, clip] => faults(path)?.select(clip.parse()?),
        ["jump", path, seconds] => faults(path)?.jump(seconds.parse()?),
        _ => bail!("write freeze PATH, thaw PATH, select PATH CLIP or jump PATH SECONDS"),
    }
    Ok(())
}

fn read_spec(words: &str) -> Result<ClipSpec> {
    let mut spec = ClipSpec::default();
    for word in words.split(',') {
        let number = |unit: &str| word.strip_suffix(unit).and_then(|number| number.parse().ok());
        match word {
            "h264" => spec.codec = Codec::H264,
            "h265" => spec.codec = Codec::H265,
            "aac" => spec.audio = Some(Audio::Aac),
            "pcma" => spec.audio = Some(Audio::Pcma),
            "pcmu" => spec.audio = Some(Audio::Pcmu),
            _ => {
                if let Some(fps) = number("fps") {
                    spec.fps = fps;
                } else if let Some(seconds) = number("s") {
                    spec.seconds = seconds;
                } else if let Some(b_frames) = number("b") {
                    spec.b_frames = b_frames;
                } else if let Some(noise) = number("noise") {
                    spec.noise = noise;
                } else if let Some(kilobits) = number("kbps") {
                    spec.kilobits = Some(kilobits);
                } else {
                    let (width, height) =
                        word.split_once('x').with_context(|| format!("{word} is no part of a clip"))?;
                    spec.size = (width.parse()?, height.parse()?);
                }
            }
        }
    }
    Ok(spec)
}
