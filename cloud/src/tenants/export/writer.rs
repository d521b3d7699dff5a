//! The archive of an export, part by part.

use aivms_contract::media::Sha256Hex;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Course, ExportError};
use crate::clock;
use crate::media::{Archive, MediaError, MediaFiles};
use crate::store::{LeasedExport, Media, MediaKey, Noun, PLAN, SharedStore};

/// Name and version of the form.
const FORM: &str = "aivms-tenant-export-1";
/// Lines read at once.
const PAGE: u32 = 500;
/// Files looked up at once.
const FILES: u32 = 100;
/// Bytes of lines after which a part ends.
const PART_BYTES: usize = 4 * 1024 * 1024;
/// The folder of the list of files.
const FILE_LIST: &str = "media/manifest";

/// Writes one archive.
pub(super) struct Writer<'a> {
    store: &'a SharedStore,
    files: &'a MediaFiles,
    leased: &'a LeasedExport,
    course: &'a Course,
    archive: Archive,
    /// Lines that are not in the archive yet.
    lines: Vec<u8>,
    line_count: u64,
    /// Parts of the noun at hand.
    parts: Vec<Value>,
    /// What `manifest.json` says of the nouns before.
    nouns: Vec<Value>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        store: &'a SharedStore,
        files: &'a MediaFiles,
        leased: &'a LeasedExport,
        course: &'a Course,
        archive: Archive,
    ) -> Self {
        let (lines, parts, nouns) = Default::default();
        Self { store, files, leased, course, archive, lines, line_count: 0, parts, nouns }
    }

    /// Writes everything but the end of the archive.
    pub(super) async fn write_everything(&mut self) -> Result<(), ExportError> {
        self.archive.add("README.md", include_str!("../export-readme.md").into()).await?;
        for noun in PLAN {
            self.write_noun(noun).await?;
        }
        self.write_files().await?;
        let manifest = serde_json::to_vec_pretty(&self.manifest()).unwrap_or_default();
        Ok(self.archive.add("manifest.json", manifest.into()).await?)
    }

    /// Ends the archive; returns its bytes and their SHA-256.
    pub(super) async fn finish(self) -> Result<(u64, Sha256Hex), ExportError> {
        Ok(self.archive.finish().await?)
    }

    /// Gives the archive up.
    pub(super) async fn abort(self) {
        self.archive.abort().await;
    }

    async fn write_noun(&mut self, noun: &'static Noun) -> Result<(), ExportError> {
        self.course.go_on(|progress| progress.step = Some(noun.name.to_owned()))?;
        let mut from = None;
        loop {
            let page = self.store.tenant_data(self.leased.export.tenant, noun, from, PAGE).await?;
            for line in &page.lines {
                self.line(noun.name, line).await?;
            }
            self.tell()?;
            match page.next {
                Some(next) => from = Some(next),
                None => return self.end_noun(noun.name).await,
            }
        }
    }

    async fn line(&mut self, folder: &str, line: &str) -> Result<(), ExportError> {
        self.lines.extend_from_slice(line.as_bytes());
        self.lines.push(b'\n');
        self.line_count += 1;
        self.course.go_on(|progress| progress.lines += 1)?;
        if self.lines.len() < PART_BYTES {
            return Ok(());
        }
        self.end_part(folder).await
    }

    async fn end_part(&mut self, folder: &str) -> Result<(), ExportError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let (content, lines) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.line_count));
        let path = format!("{folder}/{:06}.jsonl", self.parts.len() + 1);
        let sha256 = Sha256Hex::from_bytes(Sha256::digest(&content).into());
        self.parts.push(json!({ "path": path, "lines": lines, "bytes": content.len(), "sha256": sha256.as_str() }));
        Ok(self.archive.add(&path, content.into()).await?)
    }

    async fn end_noun(&mut self, folder: &str) -> Result<(), ExportError> {
        self.end_part(folder).await?;
        let parts = std::mem::take(&mut self.parts);
        let lines: u64 = parts.iter().filter_map(|part| part["lines"].as_u64()).sum();
        self.nouns.push(json!({ "name": folder, "lines": lines, "parts": parts }));
        Ok(())
    }

    /// Writes the files, if they are wanted, and the list of all of them.
    async fn write_files(&mut self) -> Result<(), ExportError> {
        self.course.go_on(|progress| progress.step = Some("media".to_owned()))?;
        let mut after = MediaKey(0);
        loop {
            let some = self.store.stored_media_after(self.leased.export.tenant, after, FILES).await?;
            for media in &some {
                let intact = if self.leased.export.include_media { self.write_file(media).await? } else { None };
                self.line(FILE_LIST, &told(media, intact).to_string()).await?;
                self.tell()?;
                after = media.key;
            }
            if some.is_empty() {
                return self.end_noun(FILE_LIST).await;
            }
        }
    }

    /// Copies a file; says whether it is what the edge sent, and `None` when it is not there any more.
    async fn write_file(&mut self, media: &Media) -> Result<Option<bool>, ExportError> {
        let mut content = match self.files.read(media, 0..media.size).await {
            Err(MediaError::Objects(object_store::Error::NotFound { .. })) => return Ok(None),
            content => content?,
        };
        self.archive.begin_file(&path(media), media.size).await?;
        let mut hash = Sha256::new();
        while let Some(piece) = content.try_next().await.map_err(MediaError::Staging)? {
            hash.update(&piece);
            self.archive.piece(piece).await?;
            self.tell()?;
        }
        self.archive.end_file().await?;
        self.course.go_on(|progress| progress.files += 1)?;
        Ok(Some(Sha256Hex::from_bytes(hash.finalize().into()) == media.sha256))
    }

    fn tell(&self) -> Result<(), ExportError> {
        let bytes = self.archive.bytes();
        self.course.go_on(|progress| progress.bytes = bytes)
    }

    fn manifest(&self) -> Value {
        let LeasedExport { export, tenant_id, .. } = self.leased;
        json!({
            "form": FORM,
            "tenant_id": tenant_id.as_str(),
            "export_id": export.export_id.as_str(),
            "asked_at": export.asked_at,
            "asked_by": export.asked_by,
            "written_at": clock::now(),
            "include_media": export.include_media,
            "nouns": self.nouns,
        })
    }
}

fn path(media: &Media) -> String {
    format!("media/{}/{}.{}", media.edge_id, media.media_id, media.content_type.extension())
}

/// A line of the list of files; `intact` is `None` for one that is not in the archive.
fn told(media: &Media, intact: Option<bool>) -> Value {
    json!({
        "path": intact.map(|_| path(media)),
        "included": intact.is_some(),
        "intact": intact,
        "kind": media.kind.to_string(),
        "id": media.media_id.as_str(),
        "edge_id": media.edge_id.as_str(),
        "camera_id": media.camera_id.as_str(),
        "event_id": media.event_id.map(|id| id.to_string()),
        "captured_at": media.captured_at,
        "stored_at": media.stored_at,
        "content_type": media.content_type.as_str(),
        "size_bytes": media.size,
        "sha256": media.sha256.as_str(),
        "lock": media.lock.as_ref().map(|lock| json!({ "at": lock.at, "by": lock.by, "reason": lock.reason })),
    })
}
