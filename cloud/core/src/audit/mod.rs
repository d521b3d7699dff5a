//! The audit log: who did what, in a chain that shows any change made behind its back.
//!
//! Each tenant has a chain of its own. An [`Entry`] has a number that counts up from 1 without a gap, and the SHA-256
//! of its predecessor stands in its own [`Entry::hash`]. Whoever edits, removes, swaps or inserts an entry breaks that
//! row or the next one, and [`Verifier`] names it. Whoever can write the whole database could also compute the chain
//! anew from the changed entry on: against that, note the [`Head`] from time to time outside; a verification that is
//! given a noted head says whether it still is part of the chain.

mod action;
mod entry;
mod verify;

pub use self::action::{Action, UnknownAction};
pub use self::entry::{
    Actor, ActorKind, Entry, Hash, MAX_DETAIL_BYTES, MAX_TEXT_CHARS, NOTHING_BEFORE, UnknownActorKind,
};
pub use self::verify::{Finding, Flaw, Head, MAX_FINDINGS, Report, Sealed, Verifier};

#[cfg(test)]
mod tests;
