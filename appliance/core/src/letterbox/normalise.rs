//! From an image of bytes to a network's input tensor.

use super::Content;
use crate::model::{ColourOrder, ModelInput};

/// An image of three bytes per pixel.
#[derive(Debug, Clone, Copy)]
pub struct PackedImage<'a> {
    /// Lines from the top, `stride` bytes apart.
    pub data: &'a [u8],
    /// Pixels per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bytes from the start of a line to the start of the next; at least three times `width`.
    pub stride: usize,
    /// Order of the three bytes.
    pub colour: ColourOrder,
}

/// Says why an image does not fill an input tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The image has neither the size of the content nor that of the input.
    #[error("the image is {width}x{height} pixels, must be {}x{} or {}x{}", content.0, content.1, input.0, input.1)]
    Size {
        /// Pixels per line of the image.
        width: u32,
        /// Lines of the image.
        height: u32,
        /// Size of the content.
        content: (u32, u32),
        /// Size of the input.
        input: (usize, usize),
    },
    /// The bytes end before the last line does, or lines overlap.
    #[error("{bytes} bytes in lines of {stride} do not hold {width}x{height} pixels of 3 bytes")]
    Bytes {
        /// Bytes given.
        bytes: usize,
        /// Bytes from line to line.
        stride: usize,
        /// Pixels per line.
        width: u32,
        /// Lines.
        height: u32,
    },
    /// The tensor has another length than the model's input.
    #[error("the tensor holds {found} numbers, the model's input has {expected}")]
    Tensor {
        /// Numbers given.
        found: usize,
        /// Numbers of the model's input.
        expected: usize,
    },
}

/// Writes images into the input tensor of one model: planes, colour order, scale and padding.
///
/// Holds the normalised value of every byte, so that a pixel costs three look-ups and the result is the same on every
/// processor.
#[derive(Debug, Clone)]
pub struct Normaliser {
    width: usize,
    height: usize,
    colour: ColourOrder,
    pad: u8,
    /// Per channel of the tensor, what each byte becomes.
    values: [[f32; 256]; 3],
}

impl Normaliser {
    /// Prepares for a model's input.
    #[must_use]
    pub fn new(input: &ModelInput) -> Self {
        let channel = |index: usize| {
            let (mean, std) = (f64::from(input.mean[index]), f64::from(input.std[index]));
            std::array::from_fn(|byte| ((byte as f64 - mean) / std) as f32)
        };
        Self {
            width: input.width as usize,
            height: input.height as usize,
            colour: input.colour,
            pad: input.pad,
            values: std::array::from_fn(channel),
        }
    }

    /// Numbers in the input tensor.
    #[must_use]
    pub fn tensor_len(&self) -> usize {
        3 * self.width * self.height
    }

    /// Writes an image that has the size of `content`, with padding around it, or that of the whole input.
    ///
    /// Every number of the tensor is written, so that a tensor can be used again. About 0.2 ms for 416x416 pixels.
    ///
    /// # Errors
    /// The image has another size, its bytes are too few, or the tensor has another length.
    pub fn write(&self, image: &PackedImage<'_>, content: Content, tensor: &mut [f32]) -> Result<(), ImageError> {
        let at = self.check(image, content, tensor.len())?;
        let (width, height) = (image.width as usize, image.height as usize);
        let plane = self.width * self.height;
        if (width, height) != (self.width, self.height) {
            for (values, plane) in self.values.iter().zip(tensor.chunks_exact_mut(plane)) {
                plane.fill(values[usize::from(self.pad)]);
            }
        }
        let (first, rest) = tensor.split_at_mut(plane);
        let (second, third) = rest.split_at_mut(plane);
        let swapped = image.colour != self.colour;
        let (outer, inner) = if swapped { (third, first) } else { (first, third) };
        let [low, middle, high] = &self.values;
        let tables = if swapped { [high, middle, low] } else { [low, middle, high] };
        for (y, line) in image.data.chunks(image.stride).take(height).enumerate() {
            let start = (at.1 + y) * self.width + at.0;
            let row = start..start + width;
            let planes = [&mut outer[row.clone()], &mut second[row.clone()], &mut inner[row]];
            write_line(&line[..3 * width], tables, planes);
        }
        Ok(())
    }

    /// Checks the sizes and returns where the image's first pixel lies in the input.
    fn check(&self, image: &PackedImage<'_>, content: Content, numbers: usize) -> Result<(usize, usize), ImageError> {
        let (width, height) = (image.width as usize, image.height as usize);
        let at = if (width, height) == (self.width, self.height) {
            Some((0, 0))
        } else if (image.width, image.height) == (content.width, content.height) {
            Some((content.x as usize, content.y as usize))
        } else {
            None
        };
        let fits = |at: &(usize, usize)| at.0 + width <= self.width && at.1 + height <= self.height;
        let Some(at) = at.filter(fits) else {
            let (content, input) = ((content.width, content.height), (self.width, self.height));
            return Err(ImageError::Size { width: image.width, height: image.height, content, input });
        };
        let (bytes, stride) = (image.data.len(), image.stride);
        let needed = stride.checked_mul(height.saturating_sub(1)).and_then(|lines| lines.checked_add(3 * width));
        if stride < 3 * width || width == 0 || needed.is_none_or(|needed| bytes < needed) {
            return Err(ImageError::Bytes { bytes, stride, width: image.width, height: image.height });
        }
        if numbers != self.tensor_len() {
            return Err(ImageError::Tensor { found: numbers, expected: self.tensor_len() });
        }
        Ok(at)
    }
}

fn write_line(line: &[u8], tables: [&[f32; 256]; 3], planes: [&mut [f32]; 3]) {
    let [first, second, third] = planes;
    for (((pixel, a), b), c) in line.as_chunks::<3>().0.iter().zip(first).zip(second).zip(third) {
        *a = tables[0][usize::from(pixel[0])];
        *b = tables[1][usize::from(pixel[1])];
        *c = tables[2][usize::from(pixel[2])];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LetterboxMode, TensorLayout};

    fn input(width: u32, height: u32, colour: ColourOrder) -> ModelInput {
        ModelInput {
            width,
            height,
            colour,
            mean: [10.0, 20.0, 30.0],
            std: [2.0, 4.0, 5.0],
            letterbox: LetterboxMode::Centred,
            pad: 110,
            layout: TensorLayout::NchwF32,
        }
    }

    const CONTENT: Content = Content { x: 1, y: 1, width: 2, height: 1 };

    #[test]
    fn content_lands_between_its_padding_in_planes_of_the_models_order() {
        let normaliser = Normaliser::new(&input(4, 2, ColourOrder::Bgr));
        let data = [12, 24, 35, 14, 28, 40, 99, 99];
        let image = PackedImage { data: &data, width: 2, height: 1, stride: 8, colour: ColourOrder::Bgr };
        let mut tensor = vec![f32::NAN; normaliser.tensor_len()];
        normaliser.write(&image, CONTENT, &mut tensor).unwrap();
        let [b, g, r] = [50.0, 22.5, 16.0];
        assert_eq!(tensor[..8], [b, b, b, b, b, 1.0, 2.0, b]);
        assert_eq!(tensor[8..16], [g, g, g, g, g, 1.0, 2.0, g]);
        assert_eq!(tensor[16..], [r, r, r, r, r, 1.0, 2.0, r]);
        let swapped = PackedImage { data: &[35, 24, 12, 40, 28, 14], stride: 6, colour: ColourOrder::Rgb, ..image };
        let mut again = vec![0.0; tensor.len()];
        normaliser.write(&swapped, CONTENT, &mut again).unwrap();
        assert_eq!(again, tensor, "the other byte order gives the same tensor");
    }

    #[test]
    fn an_image_of_the_inputs_size_is_taken_whole() {
        let normaliser = Normaliser::new(&input(2, 1, ColourOrder::Rgb));
        let image =
            PackedImage { data: &[10, 20, 30, 12, 24, 35], width: 2, height: 1, stride: 6, colour: ColourOrder::Rgb };
        let mut tensor = vec![f32::NAN; 6];
        normaliser.write(&image, Content { x: 0, y: 0, width: 1, height: 1 }, &mut tensor).unwrap();
        assert_eq!(tensor, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn wrong_sizes_are_refused_before_anything_is_written() {
        let normaliser = Normaliser::new(&input(4, 2, ColourOrder::Bgr));
        let data = [0; 64];
        let image = PackedImage { data: &data, width: 2, height: 1, stride: 8, colour: ColourOrder::Bgr };
        let write = |image: &PackedImage<'_>, content: Content, numbers: usize| {
            let mut tensor = vec![7.0; numbers];
            let result = normaliser.write(image, content, &mut tensor);
            assert!(result.is_ok() || tensor.iter().all(|&number| number == 7.0));
            result
        };
        assert_eq!(write(&image, CONTENT, 24), Ok(()));
        let error = write(&PackedImage { width: 3, ..image }, CONTENT, 24).unwrap_err();
        assert_eq!(error.to_string(), "the image is 3x1 pixels, must be 2x1 or 4x2");
        let outside = Content { x: 3, ..CONTENT };
        assert!(matches!(write(&image, outside, 24), Err(ImageError::Size { .. })));
        for (data, stride) in [(&data[..5], 8), (&data[..], 5), (&data[..], 0)] {
            let short = PackedImage { data, stride, ..image };
            assert!(matches!(write(&short, CONTENT, 24), Err(ImageError::Bytes { .. })));
        }
        let tall = PackedImage { height: 2, stride: usize::MAX, width: 4, ..image };
        assert!(matches!(write(&tall, CONTENT, 24), Err(ImageError::Bytes { .. })));
        assert_eq!(write(&image, CONTENT, 23), Err(ImageError::Tensor { found: 23, expected: 24 }));
    }
}
