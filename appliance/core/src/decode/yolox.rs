//! YOLOX exported without its decoder: rows of centre offset, log size, objectness and class scores, grid after grid.
//!
//! The decoding is that of `demo_postprocess` of the upstream project: centre (offset + index) x stride, size
//! exp(size) x stride, confidence objectness x class score.

use aivms_contract::geometry::PixelBox;

use super::find::find;
use super::row::{best_score, check_score, class_of};
use super::{DecodeError, Grid, OutputTensor, grids};
use crate::detection::Detected;
use crate::model::ModelDescription;

/// Columns before the class scores: centre x and y, width, height, objectness.
const BOX_COLUMNS: usize = 5;

pub(super) fn decode(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    let columns = BOX_COLUMNS + model.labels.len();
    let cells = grids(model).map(|grid| grid.cells).sum();
    let is_it = |output: &OutputTensor<'_>| output.table() == Some((cells, columns));
    let output = find(outputs, "boxes and scores", || format!("[1, {cells}, {columns}]"), is_it)?;
    let mut rest = output.data;
    let mut found = Vec::new();
    for grid in grids(model) {
        let (rows, others) = rest.split_at(grid.cells * columns);
        rest = others;
        for (cell, row) in rows.chunks_exact(columns).enumerate() {
            found.extend(read_row(output, grid, cell, row, threshold)?);
        }
    }
    Ok(found)
}

fn read_row(
    output: &OutputTensor<'_>,
    grid: Grid,
    cell: usize,
    row: &[f32],
    threshold: f32,
) -> Result<Option<Detected>, DecodeError> {
    let (geometry, scores) = row.split_at(BOX_COLUMNS);
    let objectness = geometry[4];
    // No class score is above 1, so the objectness alone rules out nearly every row.
    if objectness.is_nan() || objectness < threshold {
        return Ok(None);
    }
    let best = best_score(scores);
    let confidence = objectness * best;
    if !confidence.is_finite() || confidence < threshold {
        return Ok(None);
    }
    check_score(output, objectness)?;
    check_score(output, best)?;
    let found = |bbox| Detected { class: class_of(scores, best), confidence: confidence.min(1.0), bbox };
    Ok(read_box(grid, cell, geometry).map(found))
}

fn read_box(grid: Grid, cell: usize, geometry: &[f32]) -> Option<PixelBox> {
    let stride = grid.stride as f32;
    let (column, row) = grid.position(cell);
    let (x, y) = ((geometry[0] + column) * stride, (geometry[1] + row) * stride);
    let (width, height) = (geometry[2].exp() * stride, geometry[3].exp() * stride);
    PixelBox::new(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0).ok()
}
