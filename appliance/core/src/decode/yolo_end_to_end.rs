//! YOLO26, YOLOv10 and other exports that end with their choice: rows of x1, y1, x2, y2 in input pixels, score, class.
//!
//! Each object comes once, so nothing is suppressed. Rows that stand for nothing have a score near 0. Exports of YOLOv8
//! and YOLO11 with their suppression inside (`nms=True`) look the same.

use aivms_contract::geometry::PixelBox;

use super::find::find;
use super::row::Choice;
use super::{DecodeError, OutputTensor};
use crate::detection::Detected;
use crate::model::ModelDescription;

/// Numbers of a row: four corners, score, class.
const COLUMNS: usize = 6;

pub(super) fn decode(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    let is_it = |output: &OutputTensor<'_>| output.table().is_some_and(|(_, columns)| columns == COLUMNS);
    let output = find(outputs, "corners, score and class", || "[1, boxes, 6]".to_owned(), is_it)?;
    let mut found = Vec::new();
    for &[x1, y1, x2, y2, score, class] in output.data.as_chunks::<COLUMNS>().0 {
        let choice = Choice { score: (score, output), class: (class, output) };
        let Some((class, confidence)) = choice.read(model.labels.len(), threshold)? else { continue };
        found.extend(PixelBox::new(x1, y1, x2, y2).map(|bbox| Detected { class, confidence, bbox }));
    }
    Ok(found)
}
