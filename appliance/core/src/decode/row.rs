//! The best class of a row of scores.

use super::{DecodeError, OutputTensor};
use crate::detection::ClassId;

/// Largest score that still counts as a probability; half precision rounds up to 1.0 but never this far.
const MAX_SCORE: f32 = 1.001;

/// Numbers compared side by side, so that the compiler uses vector instructions.
const LANES: usize = 8;

/// The largest score of a row; 0 when none is above 0. A score that is no number never wins.
pub(super) fn best_score(scores: &[f32]) -> f32 {
    best_above(0.0, scores)
}

/// The largest number of a row; `floor` when none is above it. What is no number never wins.
pub(super) fn best_above(floor: f32, row: &[f32]) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut best = [floor; LANES];
    for chunk in chunks {
        raise(&mut best, chunk);
    }
    best.into_iter().chain(rest.iter().copied()).fold(floor, |best, number| if number > best { number } else { best })
}

/// Raises each best to the number beside it, where that is larger. What is no number never wins.
pub(super) fn raise(best: &mut [f32], numbers: &[f32]) {
    for (best, &number) in best.iter_mut().zip(numbers) {
        *best = if number > *best { number } else { *best };
    }
}

/// The first class with the given score.
pub(super) fn class_of(scores: &[f32], best: f32) -> ClassId {
    let index = scores.iter().position(|&score| score == best).unwrap_or_default();
    ClassId::try_from(index).expect("a model description has fewer labels than ClassId has values")
}

/// A class and score that the network has chosen itself, each with the output it stands in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice<'o, 't> {
    pub(super) score: (f32, &'o OutputTensor<'t>),
    pub(super) class: (f32, &'o OutputTensor<'t>),
}

impl Choice<'_, '_> {
    /// The class and confidence; `None` below the threshold and for what is no number.
    ///
    /// # Errors
    /// The score is no probability, or the description has no label for the class.
    pub(super) fn read(self, labels: usize, threshold: f32) -> Result<Option<(ClassId, f32)>, DecodeError> {
        let ((score, scores), (class, classes)) = (self.score, self.class);
        if !score.is_finite() || score < threshold || !class.is_finite() {
            return Ok(None);
        }
        check_score(scores, score)?;
        let whole = class.round();
        if whole < 0.0 || whole >= labels as f32 {
            return Err(DecodeError::Class { name: classes.name.to_owned(), class: class.to_string(), labels });
        }
        Ok(Some((whole as ClassId, score.clamp(0.0, 1.0))))
    }
}

/// Refuses scores that are not probabilities.
pub(super) fn check_score(output: &OutputTensor<'_>, score: f32) -> Result<(), DecodeError> {
    if score.is_finite() && score > MAX_SCORE {
        return Err(DecodeError::Score { name: output.name.to_owned(), score: score.to_string() });
    }
    Ok(())
}
