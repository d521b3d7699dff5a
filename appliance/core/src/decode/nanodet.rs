//! NanoDet before "Plus": per stride one tensor of class scores and one of box side distributions.
//!
//! A cell stands for the middle of its square, (index + 0.5) x stride; each side's distance from there is the mean of a
//! distribution over whole strides (generalised focal loss, arXiv 2006.04388).

use aivms_contract::geometry::PixelBox;

use super::find::find;
use super::row::{best_score, check_score, class_of};
use super::{DecodeError, Grid, OutputTensor, grids};
use crate::detection::Detected;
use crate::model::ModelDescription;

/// Most bins of a side's distribution; published models have 8 or 11.
const MAX_BINS: usize = 64;

pub(super) fn decode(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    let mut found = Vec::new();
    for grid in grids(model) {
        let (scores, sides) = pair(model, outputs, grid.cells)?;
        decode_grid(grid, scores, sides, model.labels.len(), threshold, &mut found)?;
    }
    Ok(found)
}

/// Finds the scores and distributions of one grid by their shapes: exporters neither keep order nor speaking names.
fn pair<'o, 't>(
    model: &ModelDescription,
    outputs: &'o [OutputTensor<'t>],
    cells: usize,
) -> Result<(&'o OutputTensor<'t>, &'o OutputTensor<'t>), DecodeError> {
    let classes = model.labels.len();
    let is_scores = |output: &OutputTensor<'_>| output.table() == Some((cells, classes));
    let scores = find(outputs, "class scores", || format!("[1, {cells}, {classes}]"), is_scores)?;
    let has_bins =
        |columns: usize| columns != classes && columns.is_multiple_of(4) && (8..=4 * MAX_BINS).contains(&columns);
    let is_sides =
        |output: &OutputTensor<'_>| output.table().is_some_and(|(rows, columns)| rows == cells && has_bins(columns));
    let sides = find(outputs, "box distributions", || format!("[1, {cells}, 4 x bins]"), is_sides)?;
    Ok((scores, sides))
}

fn decode_grid(
    grid: Grid,
    scores: &OutputTensor<'_>,
    sides: &OutputTensor<'_>,
    classes: usize,
    threshold: f32,
    found: &mut Vec<Detected>,
) -> Result<(), DecodeError> {
    let bins = sides.data.len() / grid.cells / 4;
    let rows = scores.data.chunks_exact(classes).zip(sides.data.chunks_exact(4 * bins));
    for (cell, (scores_of, sides_of)) in rows.enumerate() {
        let score = best_score(scores_of);
        if score < threshold || !score.is_finite() {
            continue;
        }
        check_score(scores, score)?;
        if let Some(bbox) = read_box(grid, cell, sides_of, bins) {
            found.push(Detected { class: class_of(scores_of, score), confidence: score.min(1.0), bbox });
        }
    }
    Ok(())
}

fn read_box(grid: Grid, cell: usize, sides: &[f32], bins: usize) -> Option<PixelBox> {
    let stride = grid.stride as f32;
    let (column, row) = grid.position(cell);
    let (x, y) = ((column + 0.5) * stride, (row + 0.5) * stride);
    let distance = |side: usize| mean_bin(&sides[side * bins..(side + 1) * bins]) * stride;
    PixelBox::new(x - distance(0), y - distance(1), x + distance(2), y + distance(3)).ok()
}

/// Mean of a distribution given by the logits of its bins.
fn mean_bin(logits: &[f32]) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut total, mut weighted) = (0.0, 0.0);
    for (bin, logit) in logits.iter().enumerate() {
        let weight = (logit - highest).exp();
        total += weight;
        weighted += weight * bin as f32;
    }
    weighted / total
}
