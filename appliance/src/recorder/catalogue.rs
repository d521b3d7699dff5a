//! All segments there are, in memory without their tables: some forty bytes for each minute of a camera.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_footage::fragment::FragmentInfo;

use super::segment::{DiskTier, Segment, SegmentKey, SegmentSummary, Tags};

/// Every camera's segments. Nothing in it waits for a disk.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    shelves: RwLock<BTreeMap<CameraId, Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    closed: BTreeMap<UtcMillis, Entry>,
    open: Option<Open>,
    /// Milliseconds of the longest segment there ever was, so that a search knows how far back to look.
    longest_ms: i64,
    /// End of what the run before this one left.
    left: Option<UtcMillis>,
    /// End of what this run has synced.
    synced: Option<UtcMillis>,
}

/// A closed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) end: UtcMillis,
    pub(super) bytes: u64,
    pub(super) tier: DiskTier,
    pub(super) tags: Tags,
}

/// The segment that is written now.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) start: UtcMillis,
    pub(super) end: UtcMillis,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) tags: Tags,
    pub(super) fragments: Vec<FragmentInfo>,
}

impl Catalogue {
    pub(super) fn cameras(&self) -> Vec<CameraId> {
        self.read().iter().filter(|(_, shelf)| !shelf.is_empty()).map(|(camera, _)| camera.clone()).collect()
    }

    /// The segments of a camera in order, the open one last.
    pub(super) fn summaries(&self, camera: &CameraId) -> Vec<SegmentSummary> {
        let shelves = self.read();
        let Some(shelf) = shelves.get(camera) else { return Vec::new() };
        let closed = shelf.closed.iter().map(|(start, entry)| entry.summary(*start));
        closed.chain(shelf.open_footage().map(Open::summary)).collect()
    }

    /// The closed segments that overlap a span, in order, and the open one when it does. One that has no fragment yet is
    /// left out: it may end without footage, and its file go with it.
    pub(super) fn overlapping(
        &self,
        camera: &CameraId,
        from: UtcMillis,
        to: UtcMillis,
    ) -> (Vec<(UtcMillis, Entry)>, Option<Segment>) {
        let shelves = self.read();
        let Some(shelf) = shelves.get(camera) else { return (Vec::new(), None) };
        let closed = shelf.overlapping(from, to).collect();
        let open = shelf.open_footage().filter(|open| open.start < to && open.end > from);
        (closed, open.map(|open| open.segment(camera)))
    }

    pub(super) fn oldest(&self, camera: &CameraId) -> Option<UtcMillis> {
        let shelves = self.read();
        let shelf = shelves.get(camera)?;
        let open = shelf.open_footage().map(|open| open.start);
        shelf.closed.keys().next().copied().into_iter().chain(open).min()
    }

    pub(super) fn newest_end(&self, camera: &CameraId) -> Option<UtcMillis> {
        let shelves = self.read();
        let shelf = shelves.get(camera)?;
        let open = shelf.open_footage().map(|open| open.end);
        // The latest begun is not always the last to end: the wall clock may have been set back.
        shelf.closed.values().next_back().map(|entry| entry.end).into_iter().chain(open).max()
    }

    pub(super) fn left(&self, camera: &CameraId) -> Option<UtcMillis> {
        self.read().get(camera)?.left
    }

    pub(super) fn synced(&self, camera: &CameraId) -> Option<UtcMillis> {
        self.read().get(camera)?.synced
    }

    /// Notes that everything before `end` is synced.
    pub(super) fn note_synced(&self, camera: &CameraId, end: UtcMillis) {
        self.write().entry(camera.clone()).or_default().synced = Some(end);
    }

    pub(super) fn entry(&self, key: &SegmentKey) -> Option<Entry> {
        self.read().get(&key.camera)?.closed.get(&key.start).copied()
    }

    /// Whether a segment of this beginning is there, open or closed.
    pub(super) fn holds(&self, key: &SegmentKey) -> bool {
        self.read().get(&key.camera).is_some_and(|shelf| {
            shelf.closed.contains_key(&key.start) || shelf.open.as_ref().is_some_and(|open| open.start == key.start)
        })
    }

    /// Puts a closed segment, and ends the open one if it is that.
    pub(super) fn put(&self, key: &SegmentKey, entry: Entry) {
        self.write().entry(key.camera.clone()).or_default().put(key.start, entry);
    }

    /// As [`Catalogue::put`] for what an earlier run recorded.
    pub(super) fn put_left(&self, key: &SegmentKey, entry: Entry) {
        let mut shelves = self.write();
        let shelf = shelves.entry(key.camera.clone()).or_default();
        shelf.left = shelf.left.max(Some(entry.end));
        shelf.put(key.start, entry);
    }

    /// Notes that a closed segment lies on another disk.
    pub(super) fn moved(&self, key: &SegmentKey, tier: DiskTier) -> Option<Entry> {
        let mut shelves = self.write();
        let entry = shelves.get_mut(&key.camera)?.closed.get_mut(&key.start)?;
        entry.tier = tier;
        Some(*entry)
    }

    pub(super) fn remove(&self, key: &SegmentKey) -> Option<Entry> {
        self.write().get_mut(&key.camera)?.closed.remove(&key.start)
    }

    /// Begins the open segment of a camera.
    pub(super) fn begin(&self, camera: &CameraId, open: Open) {
        self.write().entry(camera.clone()).or_default().open = Some(open);
    }

    /// Takes the open segment of a camera away.
    pub(super) fn abandon(&self, camera: &CameraId) {
        if let Some(shelf) = self.write().get_mut(camera) {
            shelf.open = None;
        }
    }

    /// Adds a fragment to the open segment.
    pub(super) fn extend(&self, camera: &CameraId, fragment: FragmentInfo, end: UtcMillis, bytes: u64) {
        if let Some(open) = self.write().get_mut(camera).and_then(|shelf| shelf.open.as_mut()) {
            open.end = open.end.max(end);
            open.bytes = bytes;
            open.fragments.push(fragment);
        }
    }

    /// What the open segment of a camera is tagged with.
    pub(super) fn open_tags(&self, camera: &CameraId) -> Tags {
        self.read().get(camera).and_then(|shelf| shelf.open.as_ref()).map_or(Tags::NONE, |open| open.tags)
    }

    /// Adds tags to what overlaps a span; gives the closed segments that changed.
    pub(super) fn tag(&self, camera: &CameraId, from: UtcMillis, to: UtcMillis, tags: Tags) -> Vec<SegmentKey> {
        let mut shelves = self.write();
        let Some(shelf) = shelves.get_mut(camera) else { return Vec::new() };
        if let Some(open) = shelf.open.as_mut().filter(|open| open.start < to) {
            open.tags |= tags;
        }
        let missing = shelf.overlapping(from, to).filter(|(_, entry)| !entry.tags.contains(tags));
        let changed: Vec<UtcMillis> = missing.map(|(start, _)| start).collect();
        for start in &changed {
            if let Some(entry) = shelf.closed.get_mut(start) {
                entry.tags |= tags;
            }
        }
        changed.into_iter().map(|start| SegmentKey { camera: camera.clone(), start }).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<CameraId, Shelf>> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<CameraId, Shelf>> {
        self.shelves.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open_footage().is_none()
    }

    /// The open segment, once it has a fragment.
    fn open_footage(&self) -> Option<&Open> {
        self.open.as_ref().filter(|open| !open.fragments.is_empty())
    }

    fn put(&mut self, start: UtcMillis, entry: Entry) {
        self.longest_ms = self.longest_ms.max(entry.end.as_millis() - start.as_millis());
        self.closed.insert(start, entry);
        self.open.take_if(|open| open.start == start);
    }

    fn overlapping(&self, from: UtcMillis, to: UtcMillis) -> impl Iterator<Item = (UtcMillis, Entry)> {
        let earliest = UtcMillis::from_millis(from.as_millis().saturating_sub(self.longest_ms)).min(to);
        let begun = self.closed.range(earliest..to).map(|(start, entry)| (*start, *entry));
        begun.filter(move |(_, entry)| entry.end > from)
    }
}

impl Entry {
    fn summary(self, start: UtcMillis) -> SegmentSummary {
        let Self { end, bytes, tier, tags } = self;
        SegmentSummary { start, end, bytes, tier, tags, closed: true }
    }
}

impl Open {
    fn summary(&self) -> SegmentSummary {
        let (start, end, bytes, tags) = (self.start, self.end, self.bytes, self.tags);
        SegmentSummary { start, end, bytes, tier: DiskTier::Fast, tags, closed: false }
    }

    fn segment(&self, camera: &CameraId) -> Segment {
        Segment {
            camera: camera.clone(),
            start: self.start,
            end: self.end,
            path: self.path.clone(),
            tier: DiskTier::Fast,
            bytes: self.bytes,
            tags: self.tags,
            closed: false,
            fragments: Arc::from(self.fragments.as_slice()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_without_a_fragment_is_in_no_list_and_in_every_list_from_its_first_on() {
        let camera: CameraId = "gate".parse().unwrap();
        let at = UtcMillis::from_millis;
        let (from, to) = (at(0), at(10_000));
        let catalogue = Catalogue::default();
        let (path, fragments) = (PathBuf::from("1000.mp4"), Vec::new());
        let open = Open { start: at(1_000), end: at(1_000), path, bytes: 700, tags: Tags::NONE, fragments };
        catalogue.begin(&camera, open);
        assert!(catalogue.overlapping(&camera, from, to).1.is_none());
        assert!(catalogue.summaries(&camera).is_empty() && catalogue.cameras().is_empty());
        assert_eq!((catalogue.oldest(&camera), catalogue.newest_end(&camera)), (None, None));

        let (start, duration, wall) = (0, 72_000, at(1_000));
        let fragment = FragmentInfo { offset: 700, bytes: 300, start, duration, wall, key: true, hash: None };
        catalogue.extend(&camera, fragment, at(1_800), 1_000);
        assert_eq!(catalogue.overlapping(&camera, from, to).1.unwrap().fragments.as_ref(), [fragment]);
        assert_eq!((catalogue.summaries(&camera).len(), catalogue.cameras().len()), (1, 1));
        assert_eq!((catalogue.oldest(&camera), catalogue.newest_end(&camera)), (Some(at(1_000)), Some(at(1_800))));
    }
}
