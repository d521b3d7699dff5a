//! Video that ffmpeg has encoded, through the real decoder and encoder, and the pixels looked at.

use std::path::Path;
use std::process::Command;

use aivms_contract::desired::CamerasFile;
use aivms_contract::geometry::PixelBox;
use gstreamer as gst;
use serde_json::json;

use super::*;
use crate::pipeline::access_unit::AccessUnit;
use crate::testing::footage::encoded;

const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;
const PICTURES: usize = 60;

/// The access units of a video made by ffmpeg with `arguments`.
fn units(dir: &Path, codec: &str, arguments: &[&str]) -> Vec<AccessUnit> {
    let source = format!("testsrc2=size={WIDTH}x{HEIGHT}:rate=25:duration=2.4");
    let arguments = [&["-pix_fmt", "yuv420p", "-g", "25"], arguments].concat();
    let units = encoded(dir, &source, codec, &arguments);
    assert_eq!(units.len(), PICTURES);
    units
}

/// A pass for a camera whose mask is the middle of the picture.
fn pass() -> Pass {
    let (keeper, gate) = Gate::new();
    let cameras = json!({"cameras": [
        {"id": "gate", "url": "file:///a", "privacy_masks": [[[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]]},
        {"id": "yard", "url": "file:///a"}]});
    let cameras: CamerasFile = serde_json::from_value(cameras).unwrap();
    keeper.set(cameras.cameras.as_slice());
    assert!(!gate.pass(&"yard".parse().unwrap()).unwrap().is_masked());
    gate.pass(&"gate".parse().unwrap()).unwrap()
}

fn masks() -> Masks {
    match pass() {
        Pass::Masked(masks) => masks,
        Pass::Open(_) => panic!("the camera has a mask"),
    }
}

fn decode(units: &[AccessUnit]) -> Vec<Picture> {
    let mut decoder = PictureDecoder::start(&units[0].format).unwrap();
    let mut pictures: Vec<_> = units.iter().flat_map(|unit| decoder.push(unit).unwrap()).collect();
    pictures.extend(decoder.drain().unwrap());
    pictures
}

fn mask(units: &[AccessUnit]) -> Vec<AccessUnit> {
    let encoding = Encoding { bitrate: 2_000_000, key_every: 25 };
    let mut masker = Masker::start(&masks(), &units[0].format, encoding).unwrap();
    let mut masked: Vec<_> = units.iter().flat_map(|unit| masker.push(unit).unwrap()).collect();
    masked.extend(masker.finish().unwrap());
    assert!(masked.iter().all(Exportable::masked));
    masked.into_iter().map(Exportable::into_inner).collect()
}

/// Peak signal-to-noise ratio of the brightness outside the middle, and the brightest pixel well inside of it.
fn compare(source: &Picture, masked: &Picture) -> (f64, u8) {
    let (mut error, mut count, mut brightest) = (0.0, 0.0, 0);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (was, is) = (source.luma(x, y), masked.luma(x, y));
            match (x, y) {
                (84..236, 64..176) => brightest = brightest.max(is),
                (72..248, 52..188) => {}
                _ => {
                    error += f64::from(was.abs_diff(is)).powi(2);
                    count += 1.0;
                }
            }
        }
    }
    (10.0 * (255.0 * 255.0 / (error / count).max(1e-9)).log10(), brightest)
}

fn every_masked_picture_is_black_inside_and_the_source_outside(codec: &str, arguments: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let source = units(dir.path(), codec, arguments);
    let masked = mask(&source);
    assert!(masked[0].key && masked[0].format.media_type() == "video/x-h264");
    assert!(masked.iter().filter(|unit| unit.key).count() >= 2, "one can start in between");
    let (before, after) = (decode(&source), decode(&masked));
    let times = |pictures: &[Picture]| pictures.iter().map(Picture::at).collect::<Vec<_>>();
    assert_eq!((times(&before), after.len()), (times(&after), PICTURES), "no picture is lost, added or moved");
    for (was, is) in before.iter().zip(&after) {
        let (ratio, brightest) = compare(was, is);
        assert!(brightest <= 24, "{brightest} at {:?}", is.at());
        assert!(ratio > 26.0, "{ratio} dB at {:?}", is.at());
    }
}

#[test]
fn every_masked_picture_of_h264_with_b_frames_is_black_inside_and_the_source_outside() {
    every_masked_picture_is_black_inside_and_the_source_outside("h264", &["-c:v", "libx264", "-bf", "2"]);
}

#[test]
fn every_masked_picture_of_h265_is_black_inside_and_the_source_outside() {
    let arguments = ["-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", "log-level=error:keyint=25"];
    every_masked_picture_is_black_inside_and_the_source_outside("h265", &arguments);
}

#[test]
fn a_masked_picture_and_its_jpeg_are_black_inside_whatever_is_drawn_before() {
    let dir = tempfile::tempdir().unwrap();
    let source = units(dir.path(), "h264", &["-c:v", "libx264"]);
    let mut picture = decode(&source[..1]).remove(0);
    let untouched = picture.clone();
    picture.draw(PixelBox::new(10.0, 10.0, 60.0, 200.0).unwrap());
    assert_ne!(picture.luma(11, 50), untouched.luma(11, 50));
    assert_eq!(picture.luma(30, 50), untouched.luma(30, 50), "a box is drawn as lines");
    let masked = pass().picture(untouched.clone());
    assert!(masked.masked());
    let (ratio, brightest) = compare(&untouched, masked.get());
    assert!(brightest == 16 && ratio > 90.0, "{brightest} {ratio}");
    let jpeg = masked.into_inner().to_jpeg().unwrap();
    assert_eq!(jpeg[..2], [0xff, 0xd8]);
    let file = dir.path().join("masked.jpg");
    std::fs::write(&file, jpeg).unwrap();
    let gray = Command::new("ffmpeg")
        .args(["-v", "error", "-i", file.to_str().unwrap(), "-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .unwrap();
    assert_eq!(gray.stdout.len(), (WIDTH * HEIGHT) as usize);
    let inside = (64..176).flat_map(|y| (84..236).map(move |x| (y * WIDTH + x) as usize));
    assert!(inside.map(|at| gray.stdout[at]).max().unwrap() < 8);
}

#[tokio::test]
async fn a_camera_that_is_not_configured_does_not_pass_and_a_change_of_masks_is_heard() {
    let (keeper, mut gate) = Gate::new();
    let camera = "gate".parse().unwrap();
    assert_eq!(gate.pass(&camera).unwrap_err(), MaskError::UnknownCamera(camera.clone()));
    let cameras: CamerasFile =
        serde_json::from_value(json!({"cameras": [{"id": "gate", "url": "file:///a"}]})).unwrap();
    keeper.set(cameras.cameras.as_slice());
    gate.changed().await;
    assert!(!gate.pass(&camera).unwrap().is_masked());
    keeper.set(cameras.cameras.as_slice());
    let unchanged = tokio::time::timeout(std::time::Duration::from_millis(50), gate.changed()).await;
    assert!(unchanged.is_err(), "the same masks are no change");
}

#[test]
fn nothing_is_masked_where_there_is_no_encoder_and_the_machine_of_these_tests_has_one() {
    gst::init().unwrap();
    assert!(["nvv4l2h264enc", "vah264enc", "openh264enc", "x264enc"].contains(&find_encoder().unwrap()));
    assert!(MaskError::NoEncoder.to_string().contains("openh264enc"));
}
