//! A box of one's own at the end of a clip, such as a manifest. Players skip it.

use std::io::{self, Read, Seek, SeekFrom};

use crate::boxes::{Put, header, own};

/// Bytes of an extra box besides what is put in it.
pub const EXTRA_HEAD_BYTES: usize = 24;
/// Most bytes in an extra box.
const MAX_EXTRA_BYTES: u64 = 16 << 20;

/// A box around `content` under the name `id`, to be appended to a clip.
#[must_use]
pub fn extra_box(id: &[u8; 16], content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + EXTRA_HEAD_BYTES);
    own(&mut out, id, |out| out.put(content));
    out
}

/// Finds the box `id` among the top-level boxes of a file: where it begins, and what is in it. `None` when there is
/// none, or the boxes in front of it are damaged.
///
/// # Errors
/// Reading fails for another reason than the end of the file.
pub fn find_extra(mut reader: impl Read + Seek, id: &[u8; 16]) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut at = 0;
    loop {
        reader.seek(SeekFrom::Start(at))?;
        let mut front = Vec::with_capacity(EXTRA_HEAD_BYTES);
        reader.by_ref().take(EXTRA_HEAD_BYTES as u64).read_to_end(&mut front)?;
        let Some((size, kind, head)) = header(&front) else { return Ok(None) };
        let found = kind == *b"uuid" && head == 8 && front.get(8..EXTRA_HEAD_BYTES) == Some(id.as_slice());
        if found && (EXTRA_HEAD_BYTES as u64..=MAX_EXTRA_BYTES).contains(&size) {
            let mut content = Vec::new();
            let length = size - EXTRA_HEAD_BYTES as u64;
            reader.by_ref().take(length).read_to_end(&mut content)?;
            return Ok((content.len() as u64 == length).then_some((at, content)));
        }
        let Some(next) = at.checked_add(size) else { return Ok(None) };
        at = next;
    }
}
