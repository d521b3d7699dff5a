//! What the lists of clips and of snapshots share: the events that tell of files, and how far each file is.

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::page::Cursor;
use aivms_contract::envelope::Body;
use aivms_contract::id::{CameraId, EdgeId, EventId};
use aivms_contract::media::{MediaId, MediaKind};

use super::Services;
use super::events::{cursor_of, page_request, plain};
use super::failure::Failure;
use super::media::{FileState, file_state};
use super::signed_in::SignedIn;
use super::values::{Text, Time};
use super::views::links;
use crate::store::{Doer, EventFilter, StoredEvent, TenantKey};

/// What a page is asked for by; all that is given must match.
pub(super) struct MediaQuery {
    pub(super) camera_id: Option<Text<CameraId>>,
    pub(super) edge_id: Option<Text<EdgeId>>,
    /// What the file was made for.
    pub(super) event_id: Option<Text<EventId>>,
    pub(super) start_time: Option<Text<Time>>,
    pub(super) end_time: Option<Text<Time>>,
    pub(super) limit: u32,
    pub(super) cursor: Option<Text<Cursor>>,
}

/// What an edge told of a file, and how far that is.
pub(super) type ToldFile = (StoredEvent, FileState);

/// A page of a tenant's files, newest first, and where the next one begins.
pub(super) async fn list(
    services: &Services,
    signed_in: SignedIn,
    kind: MediaKind,
    query: MediaQuery,
) -> Result<(Vec<ToldFile>, Option<Text<Cursor>>), Failure> {
    let filter = EventFilter {
        start: query.start_time.map(|Text(Time(at))| at),
        end: query.end_time.map(|Text(Time(at))| at),
        camera_id: query.camera_id.map(plain),
        edge_id: query.edge_id.map(plain),
        made_for: query.event_id.map(plain),
        cameras: signed_in.cameras().clone(),
        ..EventFilter::default()
    };
    let doer = signed_in.doer();
    let (tenant, page) = (signed_in.user().tenant, page_request(query.limit, query.cursor));
    let page = services.store.list_media_events(tenant, kind, filter, page).await?;
    let next = cursor_of(page.next);
    let mut files = Vec::with_capacity(page.items.len());
    for (event, media) in page.items {
        files.push((event, file_state(services, media.as_ref()).await));
    }
    links_given(services, tenant, &doer, kind, &files).await?;
    Ok((files, next))
}

/// One file of a tenant.
pub(super) async fn find(
    services: &Services,
    signed_in: SignedIn,
    kind: MediaKind,
    id: &MediaId,
) -> Result<Option<ToldFile>, Failure> {
    let (cameras, doer) = (signed_in.cameras().clone(), signed_in.doer());
    let tenant = signed_in.user().tenant;
    let found = services.store.media_event(tenant, kind, id).await?;
    let seen = |event: &StoredEvent| cameras.sees_maybe(&event.edge_id, event.envelope.body.camera());
    let Some((event, media)) = found.filter(|(event, _)| seen(event)) else { return Ok(None) };
    let file = file_state(services, media.as_ref()).await;
    let told = (event, file);
    links_given(services, tenant, &doer, kind, std::slice::from_ref(&told)).await?;
    Ok(Some(told))
}

/// Writes down whose footage can now be looked at.
async fn links_given(
    services: &Services,
    tenant: TenantKey,
    doer: &Doer,
    kind: MediaKind,
    files: &[ToldFile],
) -> Result<(), Failure> {
    let action = match kind {
        MediaKind::Clip => Action::ClipViewed,
        MediaKind::Snapshot => Action::SnapshotViewed,
    };
    let linked = files.iter().filter(|(_, file)| file.url.is_some());
    let named = linked.filter_map(|(event, _)| {
        let id = match &event.envelope.body {
            Body::Clips(clip) => clip.clip_id.to_string(),
            Body::Snapshots(snapshot) => snapshot.snapshot_id.to_string(),
            _ => return None,
        };
        Some((&event.edge_id, event.envelope.body.camera()?, id))
    });
    services.viewed(tenant, doer, &links(action, named)).await
}
