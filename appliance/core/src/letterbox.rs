//! How a frame is fitted into a network's input, and boxes back into the frame.
//!
//! The scaler (GStreamer on a CPU, the muxer's converter on a GPU) brings the frame to the size of the
//! [`content`](Letterbox::content); [`Normaliser`] writes it into the input tensor; boxes found there return through
//! [`to_frame`](Letterbox::to_frame).

mod normalise;

use aivms_contract::geometry::{FrameSize, PixelBox};

use crate::model::{LetterboxMode, ModelInput};

pub use normalise::{ImageError, Normaliser, PackedImage};

/// The part of a network's input that one size of frame covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letterbox {
    frame: FrameSize,
    input: FrameSize,
    content: Content,
}

/// A rectangle in whole pixels of the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Pixels left of it.
    pub x: u32,
    /// Lines above it.
    pub y: u32,
    /// Pixels per line of it.
    pub width: u32,
    /// Lines of it.
    pub height: u32,
}

/// Says that a frame without pixels cannot be fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {}x{} pixels cannot be fitted into an input of {}x{}", frame.width, frame.height, input.width, input.height)]
pub struct EmptyFrame {
    frame: FrameSize,
    input: FrameSize,
}

impl Letterbox {
    /// Fits frames of one size into a model's input.
    ///
    /// # Errors
    /// A side of the frame or of the input is zero.
    pub fn new(frame: FrameSize, input: &ModelInput) -> Result<Self, EmptyFrame> {
        Self::fit(frame, FrameSize { width: input.width, height: input.height }, input.letterbox)
    }

    /// Fits frames of one size into an input of another.
    ///
    /// # Errors
    /// A side of the frame or of the input is zero.
    pub fn fit(frame: FrameSize, input: FrameSize, mode: LetterboxMode) -> Result<Self, EmptyFrame> {
        if [frame.width, frame.height, input.width, input.height].contains(&0) {
            return Err(EmptyFrame { frame, input });
        }
        let (width, height) = match mode {
            LetterboxMode::Stretch => (input.width, input.height),
            LetterboxMode::TopLeft | LetterboxMode::Centred => keep_shape(frame, input),
        };
        let (x, y) = match mode {
            LetterboxMode::Stretch | LetterboxMode::TopLeft => (0, 0),
            LetterboxMode::Centred => ((input.width - width) / 2, (input.height - height) / 2),
        };
        Ok(Self { frame, input, content: Content { x, y, width, height } })
    }

    /// Takes over how another scaler has fitted frames in.
    ///
    /// # Errors
    /// A side of the frame, the input or the content is zero.
    pub fn of_content(frame: FrameSize, input: FrameSize, content: Content) -> Result<Self, EmptyFrame> {
        if [frame.width, frame.height, input.width, input.height, content.width, content.height].contains(&0) {
            return Err(EmptyFrame { frame, input });
        }
        Ok(Self { frame, input, content })
    }

    /// Where the frame lies in the input; the scaler must produce exactly this size.
    #[must_use]
    pub fn content(&self) -> Content {
        self.content
    }

    /// The network's input.
    #[must_use]
    pub fn input(&self) -> FrameSize {
        self.input
    }

    /// The frame that boxes are mapped to.
    #[must_use]
    pub fn frame(&self) -> FrameSize {
        self.frame
    }

    /// Maps a box from input pixels to frame pixels, cut to the frame; `None` when it lies wholly in the padding.
    #[must_use]
    pub fn to_frame(&self, in_input: PixelBox) -> Option<PixelBox> {
        let [x1, y1, x2, y2] = in_input.corners().map(f64::from);
        let x = |x: f64| ((x - f64::from(self.content.x)) / self.scale_x()) as f32;
        let y = |y: f64| ((y - f64::from(self.content.y)) / self.scale_y()) as f32;
        PixelBox::new(x(x1), y(y1), x(x2), y(y2)).ok()?.clipped(self.frame)
    }

    /// Maps a box from frame pixels to input pixels.
    ///
    /// `None` when a corner is too far outside to be a number.
    #[must_use]
    pub fn to_input(&self, in_frame: PixelBox) -> Option<PixelBox> {
        let [x1, y1, x2, y2] = in_frame.corners().map(f64::from);
        let x = |x: f64| (x * self.scale_x() + f64::from(self.content.x)) as f32;
        let y = |y: f64| (y * self.scale_y() + f64::from(self.content.y)) as f32;
        PixelBox::new(x(x1), y(y1), x(x2), y(y2)).ok()
    }

    /// Input pixels per frame pixel; differs from [`scale_y`](Self::scale_y) by the rounding of the content's size.
    fn scale_x(&self) -> f64 {
        f64::from(self.content.width) / f64::from(self.frame.width)
    }

    fn scale_y(&self) -> f64 {
        f64::from(self.content.height) / f64::from(self.frame.height)
    }
}

/// The largest size of the frame's shape within the input, at least one pixel each way.
fn keep_shape(frame: FrameSize, input: FrameSize) -> (u32, u32) {
    let (frame_width, frame_height) = (u64::from(frame.width), u64::from(frame.height));
    let (width, height) = (u64::from(input.width), u64::from(input.height));
    let scaled = |side: u64, to: u64, from: u64| {
        u32::try_from((side * to + from / 2) / from).expect("not larger than the input's side").max(1)
    };
    if frame_width * height >= frame_height * width {
        (input.width, scaled(frame_height, width, frame_width))
    } else {
        (scaled(frame_width, height, frame_height), input.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SQUARE: FrameSize = FrameSize { width: 416, height: 416 };

    fn content(width: u32, height: u32, mode: LetterboxMode) -> [u32; 4] {
        let content = Letterbox::fit(FrameSize { width, height }, SQUARE, mode).unwrap().content();
        [content.x, content.y, content.width, content.height]
    }

    #[test]
    fn frames_of_common_shapes_lie_where_the_models_were_trained_to_find_them() {
        assert_eq!(content(1920, 1080, LetterboxMode::Stretch), [0, 0, 416, 416]);
        assert_eq!(content(1920, 1080, LetterboxMode::TopLeft), [0, 0, 416, 234]);
        assert_eq!(content(1920, 1080, LetterboxMode::Centred), [0, 91, 416, 234]);
        assert_eq!(content(768, 576, LetterboxMode::Centred), [0, 52, 416, 312]);
        assert_eq!(content(1080, 1920, LetterboxMode::Centred), [91, 0, 234, 416]);
        assert_eq!(content(10_000, 1, LetterboxMode::Centred), [0, 207, 416, 1]);
    }

    #[test]
    fn a_frame_without_pixels_is_refused() {
        let flat = FrameSize { width: 640, height: 0 };
        let error = Letterbox::fit(flat, SQUARE, LetterboxMode::Stretch).unwrap_err();
        assert_eq!(error.to_string(), "a frame of 640x0 pixels cannot be fitted into an input of 416x416");
        assert!(Letterbox::fit(SQUARE, flat, LetterboxMode::TopLeft).is_err());
    }

    #[test]
    fn a_box_in_the_padding_is_no_box_of_the_frame() {
        let wide = Letterbox::fit(FrameSize { width: 1920, height: 1080 }, SQUARE, LetterboxMode::Centred).unwrap();
        assert_eq!(wide.to_frame(PixelBox::new(10.0, 5.0, 50.0, 90.0).unwrap()), None);
        let half = wide.to_frame(PixelBox::new(0.0, 0.0, 208.0, 208.0).unwrap()).unwrap();
        assert_eq!(half.corners(), [0.0, 0.0, 960.0, 540.0]);
    }

    proptest! {
        #[test]
        fn a_box_returns_from_the_input_to_within_a_pixel(
            frame in sizes(), input in sizes(), mode in modes(), corners in prop::array::uniform4(0.0f32..1.0),
        ) {
            let letterbox = Letterbox::fit(frame, input, mode).unwrap();
            let (width, height) = (frame.width as f32, frame.height as f32);
            let [x1, x2] = [corners[0].min(corners[1]) * width, corners[0].max(corners[1]) * width];
            let [y1, y2] = [corners[2].min(corners[3]) * height, corners[2].max(corners[3]) * height];
            prop_assume!(x2 - x1 > 1.0 && y2 - y1 > 1.0);
            let original = PixelBox::new(x1, y1, x2, y2).unwrap();
            let back = letterbox.to_frame(letterbox.to_input(original).unwrap()).unwrap();
            // In an input of one pixel per line a 32-bit float still tells 1/8 of a frame pixel apart.
            for (a, b) in original.corners().iter().zip(back.corners()) {
                prop_assert!((a - b).abs() < 1.0, "{original:?} came back as {back:?}");
            }
        }

        #[test]
        fn the_content_lies_in_the_input_and_keeps_its_shape(frame in sizes(), input in sizes(), mode in modes()) {
            let content = Letterbox::fit(frame, input, mode).unwrap().content();
            prop_assert!(content.width >= 1 && content.height >= 1);
            prop_assert!(content.x + content.width <= input.width && content.y + content.height <= input.height);
            prop_assert!(content.width == input.width || content.height == input.height);
            if mode != LetterboxMode::Stretch {
                let scale = f64::from(input.width) / f64::from(frame.width);
                let scale = scale.min(f64::from(input.height) / f64::from(frame.height));
                prop_assert!((f64::from(content.width) - scale * f64::from(frame.width)).abs() < 1.0);
                prop_assert!((f64::from(content.height) - scale * f64::from(frame.height)).abs() < 1.0);
            }
        }
    }

    fn sizes() -> impl Strategy<Value = FrameSize> {
        (1u32..8192, 1u32..8192).prop_map(|(width, height)| FrameSize { width, height })
    }

    fn modes() -> impl Strategy<Value = LetterboxMode> {
        prop::sample::select(vec![LetterboxMode::Stretch, LetterboxMode::TopLeft, LetterboxMode::Centred])
    }
}
