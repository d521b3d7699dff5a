//! Privacy masks as spans of pixels: every pixel that a polygon touches, and not one line of it left open.

use std::ops::Range;

use aivms_contract::geometry::{FrameSize, Point, Polygon};

/// The pixels hidden in pictures of one size, in blocks of two by two: the finest that a picture's colours have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskRaster {
    frame: FrameSize,
    /// For each pair of lines the hidden columns, in order and apart, at even columns.
    rows: Vec<Vec<Range<u32>>>,
}

impl MaskRaster {
    /// Rasterises `masks` for pictures of size `frame`. Blocks that a polygon only touches are hidden too.
    #[must_use]
    pub fn new(masks: &[Polygon], frame: FrameSize) -> Self {
        let mut rows: Vec<Vec<Range<u32>>> = vec![vec![]; frame.height.div_ceil(2) as usize];
        for mask in masks {
            for (row, spans) in (0u32..).zip(&mut rows) {
                let (top, bottom) = (f64::from(row * 2), f64::from(row * 2 + 2));
                spans.extend(spans_between(mask, frame, top, bottom));
            }
        }
        rows.iter_mut().for_each(join);
        Self { frame, rows }
    }

    /// The picture size that it is for.
    #[must_use]
    pub fn frame(&self) -> FrameSize {
        self.frame
    }

    /// Whether the pixel is hidden.
    #[must_use]
    pub fn hides(&self, x: u32, y: u32) -> bool {
        self.row(y).iter().any(|span| span.contains(&x))
    }

    /// The hidden columns of a line.
    #[must_use]
    pub fn row(&self, y: u32) -> &[Range<u32>] {
        self.rows.get(y as usize / 2).map_or(&[], Vec::as_slice)
    }

    /// Hides one plane of a picture: `data` has lines of `stride` bytes with one byte for each 2^`shift` pixels both ways;
    /// hidden ones become `value`.
    pub fn fill(&self, data: &mut [u8], stride: usize, shift: u32, value: u8) {
        for (y, line) in (0u32..).zip(data.chunks_mut(stride.max(1))) {
            for span in self.row(y << shift) {
                let columns = (span.start >> shift) as usize..(span.end.div_ceil(1 << shift)) as usize;
                let end = columns.end.min(line.len());
                line[columns.start.min(end)..end].fill(value);
            }
        }
    }
}

/// The columns that a polygon touches anywhere between two heights in pixels, widened to even ones.
///
/// Within the strip the polygon's part is bounded by its sides; a column is touched when a side passes over it, or when
/// it lies inside at either border of the strip.
fn spans_between(mask: &Polygon, frame: FrameSize, top: f64, bottom: f64) -> Vec<Range<u32>> {
    let (width, height) = (f64::from(frame.width), f64::from(frame.height));
    let pixel = |point: Point| (point.x * width, point.y * height);
    let sides = mask.sides().map(|(a, b)| (pixel(a), pixel(b)));
    let mut spans: Vec<Range<u32>> =
        sides.filter_map(|(a, b)| passed(a, b, top, bottom)).map(|(left, right)| even(left, right, frame)).collect();
    for border in [top, bottom] {
        let mut crossings: Vec<f64> = mask
            .sides()
            .map(|(a, b)| (pixel(a), pixel(b)))
            .filter(|(a, b)| (a.1 > border) != (b.1 > border))
            .map(|(a, b)| (b.0 - a.0) * (border - a.1) / (b.1 - a.1) + a.0)
            .collect();
        crossings.sort_by(f64::total_cmp);
        spans.extend(crossings.chunks_exact(2).map(|pair| even(pair[0], pair[1], frame)));
    }
    spans
}

/// The columns over which a side passes between two heights.
fn passed(a: (f64, f64), b: (f64, f64), top: f64, bottom: f64) -> Option<(f64, f64)> {
    let (a, b) = if a.1 <= b.1 { (a, b) } else { (b, a) };
    if a.1 > bottom || b.1 < top {
        return None;
    }
    let at = |y: f64| if b.1 > a.1 { (b.0 - a.0) * (y - a.1) / (b.1 - a.1) + a.0 } else { a.0 };
    let (first, last) = (at(top.max(a.1)), if b.1 > a.1 { at(bottom.min(b.1)) } else { b.0 });
    Some((first.min(last), first.max(last)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the frame")]
fn even(left: f64, right: f64, frame: FrameSize) -> Range<u32> {
    let width = f64::from(frame.width);
    let (left, right) = (left.clamp(0.0, width).floor() as u32, right.clamp(0.0, width).ceil() as u32);
    // A side that runs along a column touches it.
    (left & !1)..right.max(left + 1).next_multiple_of(2)
}

/// Sorts spans and joins those that meet.
fn join(spans: &mut Vec<Range<u32>>) {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut joined: Vec<Range<u32>> = vec![];
    for span in spans.drain(..) {
        match joined.last_mut() {
            Some(last) if last.end >= span.start => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    *spans = joined;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn polygon(corners: &[[f64; 2]]) -> Polygon {
        Polygon::new(corners.iter().map(|&corner| corner.into()).collect()).unwrap()
    }

    #[test]
    fn a_rectangle_on_even_pixels_hides_exactly_itself() {
        let mask = polygon(&[[0.2, 0.1], [0.6, 0.1], [0.6, 0.5], [0.2, 0.5]]);
        let raster = MaskRaster::new(&[mask], FrameSize { width: 100, height: 100 });
        let hidden = (0..100).flat_map(|y| (0..100).map(move |x| (x, y))).filter(|&(x, y)| raster.hides(x, y));
        let (mut count, mut bounds) = (0, (100, 100, 0, 0));
        for (x, y) in hidden {
            count += 1;
            bounds = (bounds.0.min(x), bounds.1.min(y), bounds.2.max(x), bounds.3.max(y));
        }
        // Its borders touch the blocks beside them, of which at most one more to each side is hidden.
        assert!(bounds.0 >= 18 && bounds.1 >= 8 && bounds.2 <= 61 && bounds.3 <= 51, "{bounds:?}");
        assert!(count >= 40 * 40);
    }

    #[test]
    fn planes_of_full_and_half_size_hide_the_same_part() {
        let mask = polygon(&[[0.5, 0.0], [1.0, 0.5], [0.5, 1.0], [0.0, 0.5]]);
        let frame = FrameSize { width: 62, height: 46 };
        let raster = MaskRaster::new(&[mask], frame);
        let (mut luma, mut chroma) = (vec![200; 64 * 46], vec![200; 32 * 23]);
        raster.fill(&mut luma, 64, 0, 16);
        raster.fill(&mut chroma, 32, 1, 128);
        for y in 0..46 {
            for x in 0..62 {
                let (at, half) = ((y * 64 + x) as usize, (y / 2 * 32 + x / 2) as usize);
                assert_eq!(luma[at] == 16, raster.hides(x, y), "{x} {y}");
                assert_eq!(chroma[half] == 128, raster.hides(x, y), "{x} {y}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_point_inside_a_mask_is_seen_and_far_points_are(
            corners in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0), 3..7), width in 16u32..200, height in 16u32..200
        ) {
            let frame = FrameSize { width, height };
            let points: Vec<Point> = corners.iter().map(|&(x, y)| [x, y].into()).collect();
            let Ok(mask) = Polygon::new(points.clone()) else { return Ok(()) };
            let raster = MaskRaster::new(std::slice::from_ref(&mask), frame);
            for step in 0..40 * 40 {
                let point = Point { x: f64::from(step % 40) / 40.0, y: f64::from(step / 40) / 40.0 };
                let (x, y) = ((point.x * f64::from(width)) as u32, (point.y * f64::from(height)) as u32);
                if mask.contains(point) {
                    prop_assert!(raster.hides(x, y), "{} {}", x, y);
                }
            }
            let most = points.iter().map(|point| point.x).fold(0.0, f64::max) * f64::from(width);
            for y in 0..height {
                for x in (most as u32 + 4)..width {
                    prop_assert!(!raster.hides(x, y), "{} {}", x, y);
                }
            }
        }
    }
}
