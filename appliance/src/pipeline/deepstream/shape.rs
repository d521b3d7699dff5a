//! Which cameras may share a muxer: the legacy muxer stretches every picture to its own size.

use aivms_contract::geometry::FrameSize;

/// Longest and shortest side of what the muxer makes, in pixels; detectors see far less, and each batch of larger
/// pictures costs memory.
const MAX_LONG: u32 = 1920;
const MAX_SHORT: u32 = 1080;
/// Most that the shapes of two cameras may differ to share a muxer: 1920x1080 and 2688x1520 differ by 0.6 %, and no
/// detector minds people who are so much thinner.
const MAX_STRETCH: f64 = 0.02;

/// What a camera of unknown size is taken for until its first picture is decoded.
pub(super) const USUAL: FrameSize = FrameSize { width: 1920, height: 1080 };

/// The muxer's size for cameras of the shape of `camera`: the camera's own, made smaller to fit, in even numbers.
pub(super) fn mux_size(camera: FrameSize) -> FrameSize {
    let (width, height) = (f64::from(camera.width.max(1)), f64::from(camera.height.max(1)));
    let fit = (f64::from(MAX_LONG) / width.max(height)).min(f64::from(MAX_SHORT) / width.min(height)).min(1.0);
    // Half a picture has no colour: NV12 keeps one for 2 x 2 pixels.
    let even = |side: f64| ((side * fit / 2.0).round() as u32).max(8) * 2;
    FrameSize { width: even(width), height: even(height) }
}

/// Whether pictures of both sizes look the same when they are stretched to one size.
pub(super) fn same_shape(a: FrameSize, b: FrameSize) -> bool {
    let ratio = |size: FrameSize| f64::from(size.width.max(1)) / f64::from(size.height.max(1));
    (ratio(a) / ratio(b)).ln().abs() <= MAX_STRETCH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(width: u32, height: u32) -> FrameSize {
        FrameSize { width, height }
    }

    #[test]
    fn cameras_of_one_shape_share_a_muxer_and_others_do_not() {
        assert!(same_shape(size(1920, 1080), size(640, 360)));
        assert!(same_shape(size(1920, 1080), size(2688, 1520)));
        assert!(!same_shape(size(1920, 1080), size(768, 576)));
        assert!(!same_shape(size(1920, 1080), size(1080, 1920)));
        assert!(!same_shape(size(704, 576), size(640, 480)));
    }

    #[test]
    fn the_muxer_works_in_the_cameras_size_up_to_full_hd() {
        assert_eq!(mux_size(size(768, 576)), size(768, 576));
        assert_eq!(mux_size(size(3840, 2160)), size(1920, 1080));
        assert_eq!(mux_size(size(2592, 1944)), size(1440, 1080));
        assert_eq!(mux_size(size(1080, 1920)), size(1080, 1920));
        assert_eq!(mux_size(size(0, 0)), size(16, 16));
    }

    proptest! {
        #[test]
        fn the_muxers_size_has_the_cameras_shape_within_bounds(width in 128u32..8192, height in 128u32..8192) {
            prop_assume!(f64::from(width.max(height)) / f64::from(width.min(height)) < 3.0);
            let made = mux_size(size(width, height));
            prop_assert!(made.width.max(made.height) <= MAX_LONG && made.width.min(made.height) <= MAX_SHORT);
            prop_assert!(made.width.is_multiple_of(2) && made.height.is_multiple_of(2));
            prop_assert!(same_shape(made, size(width, height)), "{made:?}");
        }
    }
}
