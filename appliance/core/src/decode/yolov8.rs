//! YOLOv8 and YOLO11: one plane for each of centre x and y, width and height in input pixels, then one for each class.
//!
//! A column is a candidate. The export has done the grids, the box distributions and the sigmoid; what is left is the
//! choice of the best class, the threshold and the suppression of doubles (`non_max_suppression` of the upstream
//! project, one class per box).

use aivms_contract::geometry::PixelBox;

use super::find::find;
use super::row::{check_score, raise};
use super::{DecodeError, OutputTensor};
use crate::detection::{ClassId, Detected};
use crate::model::ModelDescription;

/// Planes before the class scores: centre x and y, width, height.
const BOX_PLANES: usize = 4;
/// Candidates whose best score is sought together: they stay in the first cache while 80 planes go by.
const BLOCK: usize = 512;

pub(super) fn decode(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    let planes = BOX_PLANES + model.labels.len();
    let is_it = |output: &OutputTensor<'_>| output.table().is_some_and(|(rows, columns)| rows == planes && columns > 0);
    let output = find(outputs, "boxes and scores", || format!("[1, {planes}, candidates]"), is_it)?;
    let candidates = output.data.len() / planes;
    let (boxes, scores) = output.data.split_at(BOX_PLANES * candidates);
    let mut found = Vec::new();
    for start in (0..candidates).step_by(BLOCK) {
        let mut best = [0.0; BLOCK];
        let best = &mut best[..BLOCK.min(candidates - start)];
        for plane in scores.chunks_exact(candidates) {
            raise(best, &plane[start..]);
        }
        for (candidate, &score) in (start..).zip(&*best) {
            if score < threshold || !score.is_finite() {
                continue;
            }
            check_score(output, score)?;
            let class = class_of(scores, candidates, candidate, score);
            let read = |bbox| Detected { class, confidence: score.min(1.0), bbox };
            found.extend(read_box(boxes, candidates, candidate).map(read));
        }
    }
    Ok(found)
}

/// The first class whose plane has the given score.
fn class_of(scores: &[f32], candidates: usize, candidate: usize, best: f32) -> ClassId {
    let of_classes = scores.iter().skip(candidate).step_by(candidates);
    let index = of_classes.into_iter().position(|&score| score == best).unwrap_or_default();
    ClassId::try_from(index).expect("a model description has fewer labels than ClassId has values")
}

fn read_box(boxes: &[f32], candidates: usize, candidate: usize) -> Option<PixelBox> {
    let [x, y, width, height] = std::array::from_fn(|plane| boxes[plane * candidates + candidate]);
    PixelBox::new(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0).ok()
}
