//! Writes an export: noun by noun as JSON Lines, then the files, then the list of all that was written.
//!
//! Memory holds one part of a few MiB, whatever the tenant has. A try that dies leaves nothing that can be downloaded;
//! the next one begins anew.

mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::TenantSettings;
use crate::clock;
use crate::media::{MediaError, MediaFiles};
use crate::store::{ExportProgress, LeasedExport, SharedStore, StoreError};

use self::writer::Writer;

/// So often a try says how far it is: far less than the time after which another process would begin.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Says why a try ended.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The process stops, or the export is this try's no more.
    #[error("it was ended")]
    Ended,
}

impl ExportError {
    /// For the tenant's people; the log has the rest.
    fn public(&self) -> &'static str {
        match self {
            Self::Media(MediaError::NoRoom) => "the cloud has no room for it at the moment",
            Self::Media(_) => "the place of files failed",
            Self::Store(_) => "the database failed",
            Self::Ended => "it was ended",
        }
    }
}

/// How far a try is, and whether it goes on.
#[derive(Debug, Clone, Default)]
struct Course {
    progress: Arc<Mutex<ExportProgress>>,
    end: CancellationToken,
}

impl Course {
    /// Changes what is told of the progress; fails when the try is over.
    fn go_on(&self, change: impl FnOnce(&mut ExportProgress)) -> Result<(), ExportError> {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
        if self.end.is_cancelled() { Err(ExportError::Ended) } else { Ok(()) }
    }

    fn progress(&self) -> ExportProgress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Writes one export, if one waits; false when none does.
pub(super) async fn work(
    store: &SharedStore,
    files: &MediaFiles,
    settings: &TenantSettings,
    stop: &CancellationToken,
) -> Result<bool, StoreError> {
    let Some(leased) = store.take_export(clock::now()).await? else { return Ok(false) };
    let course = Course { end: stop.child_token(), ..Course::default() };
    let keeper = keep(Arc::clone(store), leased.clone(), course.clone());
    let keeper = AbortOnDropHandle::new(tokio::spawn(keeper));
    let written = write(store, files, settings, &leased, &course).await;
    drop(keeper);
    let export_id = &leased.export.export_id;
    match written {
        Ok(()) => tracing::info!(tenant.id = %leased.tenant_id, export.id = %export_id, "an export is written"),
        Err(ExportError::Ended) if stop.is_cancelled() => store.give_export_back(&leased).await?,
        Err(ExportError::Ended) => tracing::info!(export.id = %export_id, "an export was given up"),
        Err(error) => {
            tracing::warn!(tenant.id = %leased.tenant_id, export.id = %export_id, %error, "an export can't be written");
            store.export_tried(&leased, error.public().to_owned(), clock::now()).await?;
        }
    }
    Ok(true)
}

/// Says again and again how far the try is, until another one has its place.
async fn keep(store: SharedStore, leased: LeasedExport, course: Course) {
    let mut says = interval(SAY_EVERY);
    loop {
        says.tick().await;
        match store.keep_export(&leased, course.progress(), clock::now()).await {
            Ok(true) => {}
            Ok(false) => return course.end.cancel(),
            Err(error) => tracing::warn!(%error, "the progress of an export can't be told"),
        }
    }
}

async fn write(
    store: &SharedStore,
    files: &MediaFiles,
    settings: &TenantSettings,
    leased: &LeasedExport,
    course: &Course,
) -> Result<(), ExportError> {
    let export = &leased.export;
    let place = export.object.as_deref().unwrap_or_default();
    files.remove_archives(place, export.export_id.as_str()).await?;
    let (count, bytes) = store.media_amount(export.tenant).await?;
    course.go_on(|progress| progress.files_of = if export.include_media { count } else { 0 })?;
    let archive = files.begin_archive(place, if export.include_media { bytes } else { 0 }).await?;
    let mut writer = Writer::new(store, files, leased, course, archive);
    if let Err(error) = writer.write_everything().await {
        writer.abort().await;
        return Err(error);
    }
    let (bytes, sha256) = writer.finish().await?;
    course.go_on(|progress| progress.bytes = bytes)?;
    let letter = (settings.public_url.as_ref().map(ToString::to_string), settings.export_days);
    if store.export_finished(leased, course.progress(), sha256, letter, clock::now()).await? {
        return Ok(());
    }
    // Another try has its place, or nobody wants it any more.
    files.remove_at(place).await?;
    Err(ExportError::Ended)
}
