//! Privacy masks: the one gate through which footage leaves the edge.
//!
//! What a camera's mask hides stays in the recorded segments, for which the edge's disk is trusted, and in nothing else:
//! [`Gate::pass`] says for a camera whether its video may leave as it is, or only through a [`Masker`], which decodes it,
//! blackens the masked parts of every picture and encodes it again. Only the two give an [`Exportable`], and only an
//! [`Exportable`] is handed to what sends clips and snapshots. Live view, playback and small pictures encode nothing: they ask the
//! gate, for each fragment again when it is written to the line, and refuse a camera whose video may not leave as it is.

mod encoder;
mod error;
mod gate;
mod hidden;
mod masker;
mod picture;
mod stage;

pub use encoder::{Encoding, find_encoder};
pub use error::MaskError;
pub use gate::{Exportable, Gate, GateKeeper, Leave, Masks, Pass, Unmasked};
pub use hidden::Hidden;
pub use masker::Masker;
pub use picture::{Picture, PictureDecoder};

#[cfg(test)]
mod tests;
