//! Finding the outputs that a family needs by their shapes: exporters neither keep order nor speaking names.

use super::{DecodeError, OutputTensor};

impl OutputTensor<'_> {
    /// Rows and columns, without dimensions of one in front; `None` when there are more than two.
    pub(super) fn table(&self) -> Option<(usize, usize)> {
        let [batch @ .., rows, columns] = self.shape else { return None };
        batch.iter().all(|&side| side == 1).then_some((*rows, *columns))
    }

    /// Numbers of a list; `None` when more than the last dimension is longer than one.
    pub(super) fn list(&self) -> Option<usize> {
        let [batch @ .., len] = self.shape else { return None };
        batch.iter().all(|&side| side == 1).then_some(*len)
    }

    /// Whether the exporter's name for the output has `word` in it.
    pub(super) fn is_named(&self, word: &str) -> bool {
        self.name.to_ascii_lowercase().contains(word)
    }
}

/// Finds the one output that `fits`; `shape` says in an error what it must look like.
pub(super) fn find<'o, 't>(
    outputs: &'o [OutputTensor<'t>],
    what: &'static str,
    shape: impl FnOnce() -> String,
    fits: impl Fn(&OutputTensor<'_>) -> bool,
) -> Result<&'o OutputTensor<'t>, DecodeError> {
    let mut found = outputs.iter().filter(|output| fits(output));
    match (found.next(), found.next()) {
        (Some(output), None) => Ok(output),
        (Some(first), Some(second)) => {
            let (first, second) = (first.name.to_owned(), second.name.to_owned());
            Err(DecodeError::Ambiguous { what, shape: shape(), first, second })
        }
        (None, _) => Err(DecodeError::Missing { what, shape: shape(), found: list(outputs) }),
    }
}

fn list(outputs: &[OutputTensor<'_>]) -> String {
    let each: Vec<_> = outputs.iter().map(|output| format!("{} {:?}", output.name, output.shape)).collect();
    if each.is_empty() { "no outputs".to_owned() } else { each.join(", ") }
}
