//! For measurements alone: an index of footage that was never recorded.

use std::path::Path;
use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::fragment::FragmentInfo;
use aivms_footage::table::FragmentTable;
use aivms_footage::track::VIDEO_TIMESCALE;

use super::catalogue::Entry;
use super::footage::{Footage, Readiness, Shared};
use super::index::{self, IndexKeeper};
use super::layout::Folders;
use super::segment::{DiskTier, SegmentKey, Tags};
use crate::state::database::DatabaseError;

/// Segments that are written at once.
const GROUP: usize = 1_000;
/// Bytes of a made-up fragment: a second of 4 Mbit/s.
const FRAGMENT_BYTES: u32 = 500_000;

/// Puts rows of one minute each into the index in `data_dir`: `segments` of every camera, from `from` on, each with a
/// table of `fragments` fragments. There are no files, so that only [`open_index`] opens it. Blocks.
///
/// # Errors
/// The index can't be opened.
pub fn fill_index(
    data_dir: &Path,
    cameras: &[CameraId],
    from: UtcMillis,
    segments: usize,
    fragments: u32,
) -> Result<(), DatabaseError> {
    let (handle, mut keeper) = index::index(index::dir(data_dir));
    keeper.open()?;
    let table = table(from, fragments);
    for camera in cameras {
        for number in 0..segments {
            let start = from + Duration::from_secs(60) * u32::try_from(number).unwrap_or(u32::MAX);
            let entry = Entry {
                end: start + Duration::from_secs(60),
                bytes: u64::from(FRAGMENT_BYTES) * u64::from(fragments),
                tier: DiskTier::Fast,
                tags: Tags::NONE,
            };
            handle.put(&SegmentKey { camera: camera.clone(), start }, entry, &table);
            if number % GROUP == GROUP - 1 {
                keeper.drain();
            }
        }
        keeper.drain();
    }
    handle.close();
    keeper.serve(None);
    Ok(())
}

/// Opens an index that [`fill_index`] has made, and believes it without files. The handle answers
/// [`Footage::segments`] as that of a recorder does. Blocks while all rows are read.
///
/// # Errors
/// The index can't be opened.
pub fn open_index(data_dir: &Path) -> Result<Footage, DatabaseError> {
    let (handle, mut keeper) = index::index(index::dir(data_dir));
    let folders = Folders { fast: data_dir.join("recordings"), slow: None };
    let shared = Shared::new(handle, folders, |_| {});
    take_over(&mut keeper, &shared)?;
    shared.readiness.send_replace(Readiness::Complete);
    Ok(Footage { shared: std::sync::Arc::new(shared) })
}

fn take_over(keeper: &mut IndexKeeper, shared: &Shared) -> Result<(), DatabaseError> {
    for (camera, rows) in keeper.open()?.0.segments {
        for (start, entry) in rows {
            shared.catalogue.put_left(&SegmentKey { camera: camera.clone(), start }, entry);
        }
    }
    Ok(())
}

fn table(from: UtcMillis, fragments: u32) -> FragmentTable {
    let duration = 60 * VIDEO_TIMESCALE / fragments.max(1);
    let fragment = |number: u32| FragmentInfo {
        offset: 1_000 + u64::from(number) * u64::from(FRAGMENT_BYTES),
        bytes: FRAGMENT_BYTES,
        start: u64::from(number) * u64::from(duration),
        duration,
        wall: from + Duration::from_secs(60) * number / fragments.max(1),
        key: true,
        hash: None,
    };
    FragmentTable { fragments: (0..fragments).map(fragment).collect() }
}
