//! The best class of a row of scores.

use super::{DecodeError, OutputTensor};
use crate::detection::ClassId;

/// Largest score that still counts as a probability; half precision rounds up to 1.0 but never this far.
const MAX_SCORE: f32 = 1.001;

/// Numbers compared side by side, so that the compiler uses vector instructions.
const LANES: usize = 8;

/// The largest score of a row; 0 when none is above 0. A score that is no number never wins.
pub(super) fn best_score(scores: &[f32]) -> f32 {
    let (chunks, rest) = scores.as_chunks::<LANES>();
    let mut best = [0.0f32; LANES];
    for chunk in chunks {
        for (best, &score) in best.iter_mut().zip(chunk) {
            *best = if score > *best { score } else { *best };
        }
    }
    best.into_iter().chain(rest.iter().copied()).fold(0.0, |best, score| if score > best { score } else { best })
}

/// The first class with the given score.
pub(super) fn class_of(scores: &[f32], best: f32) -> ClassId {
    let index = scores.iter().position(|&score| score == best).unwrap_or_default();
    ClassId::try_from(index).expect("a model description has fewer labels than ClassId has values")
}

/// Refuses scores that are not probabilities.
pub(super) fn check_score(output: &OutputTensor<'_>, score: f32) -> Result<(), DecodeError> {
    if score.is_finite() && score > MAX_SCORE {
        return Err(DecodeError::Score { name: output.name.to_owned(), score: score.to_string() });
    }
    Ok(())
}
