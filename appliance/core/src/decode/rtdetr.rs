//! RT-DETR: a fixed number of queries, each a box in fractions of the input and its class scores.
//!
//! Boxes are centre x and y, width and height. Exports differ in what they do with the scores:
//! - boxes and scores before their sigmoid as two outputs (the network's own; what `transformers` calls `pred_boxes` and
//!   `logits`);
//! - one output, each box before its scores, sigmoid done (Ultralytics up to 8.3);
//! - one output, each box before its score and class (Ultralytics since 8.4);
//! - labels, boxes and scores as three outputs (upstream's own export), which [`dfine`](super::dfine) reads.
//!
//! Each object comes once, so nothing is suppressed. A query counts once, with its best class.

use aivms_contract::geometry::PixelBox;

use super::find::find;
use super::row::{Choice, best_above, best_score, class_of};
use super::{DecodeError, OutputTensor, dfine};
use crate::detection::Detected;
use crate::model::{ModelDescription, ModelInput};

/// Numbers of a box.
const BOX_COLUMNS: usize = 4;
/// Largest coordinate that may still be a fraction; boxes reach over the edges by a little, pixels are far above.
const MAX_FRACTION: f32 = 2.0;

pub(super) fn decode(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    match outputs {
        _ if dfine::is_labelled(outputs) => dfine::read_labelled(model, outputs, threshold),
        [_only] => read_rows(model, outputs, threshold),
        _ => read_logits(model, outputs, threshold),
    }
}

/// Reads boxes and scores before their sigmoid.
pub(super) fn read_logits(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    let (boxes, logits) = pair(model, outputs)?;
    let rows = boxes.data.as_chunks::<BOX_COLUMNS>().0.iter().zip(logits.data.chunks_exact(model.labels.len()));
    let mut found = Vec::new();
    for (of_box, of_classes) in rows {
        let best = best_above(f32::NEG_INFINITY, of_classes);
        let confidence = 1.0 / (1.0 + (-best).exp());
        if !best.is_finite() || confidence < threshold {
            continue;
        }
        let read = |bbox| Detected { class: class_of(of_classes, best), confidence, bbox };
        found.extend(read_box(boxes, of_box, &model.input)?.map(read));
    }
    // Scores after a sigmoid would become 0.5 and more by a second one: a picture full of objects.
    if !found.is_empty() && logits.data.iter().all(|&logit| logit >= 0.0) {
        return Err(DecodeError::Logits { name: logits.name.to_owned() });
    }
    Ok(found)
}

/// Finds boxes and scores by their shapes; with four classes, when both look the same, by the name of the boxes.
fn pair<'o, 't>(
    model: &ModelDescription,
    outputs: &'o [OutputTensor<'t>],
) -> Result<(&'o OutputTensor<'t>, &'o OutputTensor<'t>), DecodeError> {
    let classes = model.labels.len();
    let is_boxes = |output: &OutputTensor<'_>| {
        let named = classes != BOX_COLUMNS || output.is_named("box");
        named && output.table().is_some_and(|(_, columns)| columns == BOX_COLUMNS)
    };
    let boxes = find(outputs, "boxes", || "[1, queries, 4]".to_owned(), is_boxes)?;
    let queries = boxes.data.len() / BOX_COLUMNS;
    let is_logits = |output: &OutputTensor<'_>| output.table() == Some((queries, classes)) && !is_boxes(output);
    let logits = find(outputs, "scores before their sigmoid", || format!("[1, {queries}, {classes}]"), is_logits)?;
    Ok((boxes, logits))
}

/// Reads one output of rows, a box and what it shows.
fn read_rows(
    model: &ModelDescription,
    outputs: &[OutputTensor<'_>],
    threshold: f32,
) -> Result<Vec<Detected>, DecodeError> {
    let classes = model.labels.len();
    let widths = [BOX_COLUMNS + 2, BOX_COLUMNS + classes];
    let is_it = |output: &OutputTensor<'_>| output.table().is_some_and(|(_, columns)| widths.contains(&columns));
    let shape = || format!("[1, queries, {}] or [1, queries, {}]", widths[0], widths[1]);
    let output = find(outputs, "boxes and scores", shape, is_it)?;
    let columns = output.table().map_or(1, |(_, columns)| columns);
    let chosen = columns == widths[0] && (columns != widths[1] || ends_in_class_numbers(output, columns));
    let mut found = Vec::new();
    for row in output.data.chunks_exact(columns) {
        let Some((of_box, of_classes)) = row.split_first_chunk::<BOX_COLUMNS>() else { continue };
        let choice = match of_classes {
            &[score, class] if chosen => Choice { score: (score, output), class: (class, output) },
            scores => best_choice(output, scores),
        };
        let Some((class, confidence)) = choice.read(classes, threshold)? else { continue };
        found.extend(read_box(output, of_box, &model.input)?.map(|bbox| Detected { class, confidence, bbox }));
    }
    Ok(found)
}

/// With two classes both kinds of rows have six numbers; only class numbers are whole throughout.
fn ends_in_class_numbers(output: &OutputTensor<'_>, columns: usize) -> bool {
    output.data.iter().skip(columns - 1).step_by(columns).all(|number| number.fract() == 0.0)
}

fn best_choice<'o, 't>(output: &'o OutputTensor<'t>, scores: &[f32]) -> Choice<'o, 't> {
    let best = best_score(scores);
    Choice { score: (best, output), class: (f32::from(class_of(scores, best)), output) }
}

/// From fractions of the input to its pixels; `None` for what is no box.
fn read_box(
    output: &OutputTensor<'_>,
    row: &[f32; BOX_COLUMNS],
    input: &ModelInput,
) -> Result<Option<PixelBox>, DecodeError> {
    if let Some(coordinate) = row.iter().find(|number| number.is_finite() && number.abs() > MAX_FRACTION) {
        return Err(DecodeError::Fraction { name: output.name.to_owned(), coordinate: coordinate.to_string() });
    }
    let (across, down) = (input.width as f32, input.height as f32);
    let [x, y, width, height] = *row;
    let (left, right) = ((x - width / 2.0) * across, (x + width / 2.0) * across);
    let (top, bottom) = ((y - height / 2.0) * down, (y + height / 2.0) * down);
    Ok(PixelBox::new(left, top, right, bottom).ok())
}
