//! Hashes files anew, to compare them with what was said of them.

use std::io::{self, Read, Seek, SeekFrom};

use super::check::FileState;
use super::digest::{digest_outside, digest_payloads};
use super::manifest::{ClipFacts, Found, Treatment};
use super::seal::{Leaf, tracks_digest};
use crate::clip::read_clip;
use crate::scan::{scan, scan_media};
use crate::track::Tracks;

/// Reads and hashes all of a segment's file.
///
/// # Errors
/// The file can't be read.
pub fn examine_segment(mut file: impl Read + Seek) -> io::Result<FileState> {
    let bytes = file.seek(SeekFrom::End(0))?;
    let Some(found) = scan_media(&mut file)? else {
        return Ok(FileState::Unreadable("it does not begin as a segment does".to_owned()));
    };
    let leaves = |scan: &crate::scan::Scan| scan.fragments.iter().filter_map(Leaf::of).collect::<Vec<_>>();
    let claimed = scan(&mut file)?.filter(|scan| scan.closed).map_or_else(Vec::new, |scan| leaves(&scan));
    Ok(FileState::Read {
        bytes,
        leaves: leaves(&found),
        claimed,
        tracks: tracks_digest(&found.tracks),
        outside: digest_outside(&mut file, bytes)?,
    })
}

/// Reads and hashes all of a clip's file before its manifest, as the manifest says it is made up.
///
/// # Errors
/// The file can't be read.
pub fn examine_clip(mut file: impl Read + Seek, found: &Found) -> io::Result<ClipFacts> {
    let outside = digest_outside(&mut file, found.at)?;
    let payloads = digest_payloads(&mut file, found.at)?;
    let clip = read_clip(&mut file)?;
    let tracks = clip.as_ref().map(|clip| tracks_digest(&clip.tracks));
    let silent = clip.as_ref().map(|clip| tracks_digest(&Tracks { audio: None, ..clip.tracks.clone() }));
    let is_copied = found.manifest.treatment == Treatment::Copied;
    let fragments = match (clip, found.manifest.expected()) {
        _ if !is_copied => Ok(Vec::new()),
        (None, _) => Err("they are not those of a clip".to_owned()),
        (_, None) => Err("the manifest does not say of what the clip consists".to_owned()),
        (Some(clip), Some(expected)) => match clip.hashes(&mut file, &expected)? {
            Some(hashes) => Ok(hashes.into_iter().map(|hash| hash.0).collect()),
            None => Err("they list more or fewer samples than the clip was made of".to_owned()),
        },
    };
    Ok(ClipFacts { outside, payloads, tracks, silent, fragments })
}
