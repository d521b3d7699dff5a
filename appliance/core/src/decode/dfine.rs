//! D-FINE: labels, boxes and scores as three outputs, or boxes and scores before their sigmoid as RT-DETR has them.
//!
//! Three outputs come from the project's own export, whose last part scales the boxes to sizes that it takes as a second
//! input; with those sizes made a constant (docs/ref/models.md), boxes are x1, y1, x2, y2 in input pixels. Each object
//! comes once, so nothing is suppressed.

use aivms_contract::geometry::PixelBox;

use super::find::find;
use super::row::Choice;
use super::{DecodeError, OutputTensor, rtdetr};
use crate::detection::Detected;
use crate::model::ModelDescription;

/// Numbers of a box.
const BOX_COLUMNS: usize = 4;

pub(super) fn decode(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    if is_labelled(outputs) {
        read_labelled(model, outputs, threshold)
    } else {
        rtdetr::read_logits(model, outputs, threshold)
    }
}

/// Whether an output holds nothing but class numbers.
pub(super) fn is_labelled(outputs: &[OutputTensor<'_>]) -> bool {
    outputs.iter().any(|output| output.list().is_some() && output.is_named("label"))
}

/// Reads labels, boxes in input pixels, and scores. Labels and scores look the same, so names tell them apart.
pub(super) fn read_labelled(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    let is_boxes = |output: &OutputTensor<'_>| output.table().is_some_and(|(_, columns)| columns == BOX_COLUMNS);
    let boxes = find(outputs, "boxes", || "[1, queries, 4]".to_owned(), is_boxes)?;
    let queries = boxes.data.len() / BOX_COLUMNS;
    let list_named = |word: &'static str| {
        let is_it = move |output: &OutputTensor<'_>| output.list() == Some(queries) && output.is_named(word);
        find(outputs, word, || format!("[1, {queries}] with \"{word}\" in its name"), is_it)
    };
    let (labels, scores) = (list_named("label")?, list_named("score")?);
    let mut found = Vec::new();
    let rows = boxes.data.as_chunks::<BOX_COLUMNS>().0.iter().zip(labels.data).zip(scores.data);
    for ((&[x1, y1, x2, y2], &label), &score) in rows {
        let choice = Choice { score: (score, scores), class: (label, labels) };
        let Some((class, confidence)) = choice.read(model.labels.len(), threshold)? else { continue };
        found.extend(PixelBox::new(x1, y1, x2, y2).map(|bbox| Detected { class, confidence, bbox }));
    }
    Ok(found)
}
