//! Writing a part of some spool files into a new one: how shedding, merging and repair change what is on disk.

use std::path::Path;
use std::{fs, io};

use super::index::{Fills, SpoolFile};
use super::spool::{self, FileName, Owner, Piece, Record};
use crate::state::durable;

/// Writes the records of `sources` that `keep` wants, in order and each once, into one durable file.
///
/// Gives `None`, and writes nothing, when there is none. The sources stay: until the caller deletes them every kept
/// record lies in both, which a scan takes once.
pub(crate) fn compact(
    dir: &Path,
    owner: &Owner,
    sources: &[FileName],
    turn: u64,
    keep: impl Fn(&Record<'_>) -> bool,
) -> io::Result<Option<SpoolFile>> {
    let (mut body, mut fills) = (Vec::new(), Fills::default());
    let (mut first, mut last) = (None, 0);
    for source in sources {
        let bytes = fs::read(source.path(dir))?;
        for piece in spool::walk(&bytes) {
            let Piece::Record(record @ Record { seq, kind: Some(kind), payload, .. }, _) = piece else { continue };
            if seq > last && keep(&record) {
                spool::push_record(&mut body, seq, kind, 0, payload);
                fills.add(kind, spool::record_bytes(payload));
                first.get_or_insert(seq);
                last = seq;
            }
        }
    }
    let Some(first) = first else { return Ok(None) };
    let mut bytes = Vec::new();
    spool::push_head(&mut bytes, first, owner);
    bytes.append(&mut body);
    let name = FileName { first, turn };
    durable::replace(&name.path(dir), &bytes)?;
    Ok(Some(SpoolFile { name, last, bytes: bytes.len() as u64, fills }))
}
