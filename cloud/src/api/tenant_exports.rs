//! Exports of everything of a tenant: asked for by an owner, written in the background, downloaded by a link.

use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::audit::{Action, Actor, ActorKind};
use aivms_cloud_core::people::TenantExportId;
use aivms_contract::media::Sha256Hex;
use poem::web::Data;
use poem::{Body as Stream, Request, Response, handler};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use super::idempotency::{KeyHeader, Made};
use super::media::{Asking, Shown, unread};
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags, address};
use crate::clock;
use crate::media::LinkedExport;
use crate::store::{By, NewAudit, Store, StoreError, TenantExport, TenantExportState, UserRole};

pub(super) struct TenantExportsApi(pub Arc<Services>);

/// Downloads of one export from one address within this time are one entry of the audit log.
const FOLD: Duration = Duration::from_secs(10 * 60);

/// What an export shall hold.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
#[oai(example)]
#[derive(Default)]
struct NewExport {
    /// Whether the files of clips and snapshots are in it; without them it lists their SHA-256 sums alone.
    #[oai(default)]
    include_media: bool,
}

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case", rename = "TenantExportState")]
enum State {
    /// It is going to be written.
    Waiting,
    /// It is being written.
    Running,
    /// It can be downloaded.
    Finished,
    /// It could not be written.
    Failed,
    /// Its archive was deleted.
    Expired,
}

/// An export of everything of the tenant.
#[derive(Debug, Object)]
#[oai(rename = "TenantExport")]
struct ExportAnswer {
    /// Its identifier.
    export_id: Text<TenantExportId>,
    /// Whether the files of clips and snapshots are in it.
    include_media: bool,
    /// How far it is.
    state: State,
    /// When it was asked for.
    asked_at: Text<Time>,
    /// Address of who asked.
    asked_by: String,
    /// What is being written, such as `events`; null unless it runs.
    #[oai(nullable)]
    step: Option<String>,
    /// Lines written.
    lines: u64,
    /// Files of clips and snapshots written.
    files: u64,
    /// How many there were when it was begun.
    files_of: u64,
    /// Bytes of the archive until now.
    size_bytes: u64,
    /// When the archive was whole, or it was given up.
    #[oai(nullable)]
    finished_at: Option<Text<Time>>,
    /// When the archive is deleted.
    #[oai(nullable)]
    expires_at: Option<Text<Time>>,
    /// SHA-256 of the archive in hexadecimal.
    #[oai(nullable)]
    sha256: Option<Text<Sha256Hex>>,
    /// Why it failed, or why the last try did.
    #[oai(nullable)]
    error: Option<String>,
    /// Where the archive is, on this server, for whoever has this link and until it ends; null unless it is finished.
    /// It answers to byte ranges.
    #[oai(nullable)]
    url: Option<String>,
    /// End of the link.
    #[oai(nullable)]
    url_expires_at: Option<Text<Time>>,
}

/// The tenant's exports.
#[derive(Debug, Object)]
struct ExportList {
    /// Newest first.
    items: Vec<ExportAnswer>,
}

#[derive(ApiResponse)]
enum Asked {
    /// It is going to be written.
    #[oai(status = 201)]
    Created(Json<ExportAnswer>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Deleted {
    /// It can't be downloaded any more; its archive goes in the next seconds.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/tenant/exports", tag = "Tags::Accounts")]
impl TenantExportsApi {
    /// Ask for an export of everything
    ///
    /// An archive (tar) with everything of the tenant in plain formats, but nothing that lets somebody in. It is written
    /// in the background; a mail tells when it can be downloaded. At most five are there at once. Needs the role owner.
    #[oai(path = "/", method = "post", operation_id = "create_tenant_export")]
    async fn create(
        &self,
        signed_in: SignedIn,
        body: Body<NewExport>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Asked, Failure> {
        let asking = signed_in.asking();
        let by = signed_in.in_person(UserRole::Owner)?;
        let media = body.0.include_media;
        let made = self.0.once(&asking, "create_tenant_export", key, &body.0, move |store| ask(store, by, media));
        let Made { body, location } = made.await?;
        Ok(Asked::Created(Json(body), location))
    }

    /// List exports
    ///
    /// With how far each is, and a fresh link to those that are finished. Needs the role owner.
    #[oai(path = "/", method = "get", operation_id = "list_tenant_exports")]
    async fn list(&self, signed_in: SignedIn) -> Result<Json<ExportList>, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        let exports = self.0.store.tenant_exports(by.tenant).await?;
        Ok(Json(ExportList { items: exports.into_iter().map(|export| linked(&self.0, export)).collect() }))
    }

    /// Show an export
    ///
    /// Needs the role owner.
    #[oai(path = "/:export_id", method = "get", operation_id = "show_tenant_export")]
    async fn show(
        &self,
        signed_in: SignedIn,
        /// The export.
        export_id: Path<Text<TenantExportId>>,
    ) -> Result<Json<ExportAnswer>, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        let found = self.0.store.tenant_export(by.tenant, export_id.0.0).await?.ok_or(StoreError::NotFound)?;
        Ok(Json(linked(&self.0, found)))
    }

    /// Delete an export
    ///
    /// Whatever its state: one that is being written is given up. Needs the role owner.
    #[oai(path = "/:export_id", method = "delete", operation_id = "delete_tenant_export")]
    async fn delete(
        &self,
        signed_in: SignedIn,
        /// The export.
        export_id: Path<Text<TenantExportId>>,
    ) -> Result<Deleted, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        self.0.store.delete_export(by, export_id.0.0, clock::now()).await?;
        Ok(Deleted::Done)
    }
}

async fn ask(store: Store, by: By, include_media: bool) -> Result<Made<ExportAnswer>, Failure> {
    let export = store.ask_for_export(by, include_media, clock::now()).await?;
    let location = format!("/api/tenant/exports/{}", export.export_id);
    Ok(Made { body: answer(export), location })
}

fn answer(export: TenantExport) -> ExportAnswer {
    ExportAnswer {
        export_id: Text(export.export_id),
        include_media: export.include_media,
        state: match export.state {
            TenantExportState::Waiting => State::Waiting,
            TenantExportState::Running => State::Running,
            TenantExportState::Finished => State::Finished,
            TenantExportState::Failed => State::Failed,
            TenantExportState::Expired => State::Expired,
        },
        asked_at: time(export.asked_at),
        asked_by: export.asked_by,
        step: export.progress.step,
        lines: export.progress.lines,
        files: export.progress.files,
        files_of: export.progress.files_of,
        size_bytes: export.progress.bytes,
        finished_at: export.finished_at.map(time),
        expires_at: export.expires_at.map(time),
        sha256: export.sha256.map(Text),
        error: export.error.filter(|_| export.state != TenantExportState::Finished),
        url: None,
        url_expires_at: None,
    }
}

/// With a link, when there is something to download.
fn linked(services: &Services, export: TenantExport) -> ExportAnswer {
    let now = clock::now();
    let is_there = export.state == TenantExportState::Finished && export.expires_at.is_some_and(|end| now < end);
    let until = now + Duration::from_secs(services.settings.link_seconds.into());
    let link = LinkedExport { tenant: export.tenant, export: export.key, until };
    let token = is_there.then(|| services.export_links.sign(link)).flatten();
    ExportAnswer {
        url_expires_at: token.is_some().then(|| time(until)),
        url: token.map(|token| format!("/exports/{token}")),
        ..answer(export)
    }
}

/// `GET` and `HEAD /exports/{token}`: the archive, to whoever has the link.
#[handler]
pub(super) async fn serve(
    request: &Request,
    poem::web::Path(token): poem::web::Path<String>,
    services: Data<&Arc<Services>>,
) -> poem::Result<Response> {
    Ok(download(request, &token, &services).await?)
}

async fn download(request: &Request, token: &str, services: &Services) -> Result<Response, Failure> {
    // One text for a link that never was, has ended or whose archive is gone: it tells nobody which.
    let gone = || Failure::not_found("this link is not good or has ended; ask for the export again");
    let link = services.export_links.read(token, clock::now()).ok_or_else(gone)?;
    let export = services.store.finished_export(link.tenant, link.export, clock::now()).await?.ok_or_else(gone)?;
    let (Some(place), Some(sha256)) = (&export.object, &export.sha256) else { return Err(gone()) };
    let shown = Shown {
        etag: format!("\"{sha256}\""),
        size: export.progress.bytes,
        content_type: "application/x-tar",
        disposition: format!("attachment; filename=\"{}.tar\"", export.export_id),
    };
    let (head, part) = match shown.asked_of(request) {
        Asking::Answered(response) => return Ok(response),
        Asking::Bytes(head, part) => (head, part),
    };
    note(services, &export, address(request, services)).await?;
    let bytes = services.media.read_at(place, part).await.inspect_err(|error| {
        tracing::error!(export.id = %export.export_id, %error, "an export can't be read");
    });
    Ok(head.body(Stream::from_bytes_stream(bytes.map_err(|error| unread(&error, gone()))?)))
}

/// Writes the download down. What can't be written down is not given out.
async fn note(services: &Services, export: &TenantExport, address: String) -> Result<(), Failure> {
    let entry = NewAudit {
        tenant: export.tenant,
        actor: Actor { kind: ActorKind::Link, id: String::new(), name: "whoever has the link".into() },
        address: Some(address),
        action: Action::TenantExportDownloaded,
        subject: Some(export.export_id.to_string()),
        detail: Value::Null,
        at: clock::now(),
    };
    Ok(services.store.audit_views(vec![entry], FOLD).await?)
}

impl poem_openapi::types::Example for NewExport {
    fn example() -> Self {
        Self { include_media: true }
    }
}
