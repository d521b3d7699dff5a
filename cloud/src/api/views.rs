//! Who looked at what, for the audit log: one entry per person, camera and ten minutes.

use std::time::Duration;

use aivms_cloud_core::audit::{Action, Actor};
use aivms_contract::id::{CameraId, EdgeId};
use serde_json::{Value, json};

use super::Services;
use super::failure::Failure;
use crate::clock;
use crate::store::{Doer, Media, NewAudit, TenantKey};

/// Viewings of one camera by one person within this time are one entry.
const FOLD: Duration = Duration::from_secs(10 * 60);
/// Most ids that an entry names.
const NAMED: usize = 20;

/// Something that is looked at.
pub(super) struct Viewed<'a> {
    pub action: Action,
    pub edge: &'a EdgeId,
    pub camera: &'a CameraId,
    pub detail: Value,
}

impl Services {
    /// Writes viewings down. Whoever can't be written down sees nothing: so this comes before the answer.
    pub(super) async fn viewed(&self, tenant: TenantKey, doer: &Doer, views: &[Viewed<'_>]) -> Result<(), Failure> {
        let entries = views.iter().map(|view| NewAudit {
            tenant,
            actor: doer.actor.clone(),
            address: doer.address.clone(),
            action: view.action,
            subject: Some(format!("{}/{}", view.edge, view.camera)),
            detail: view.detail.clone(),
            at: clock::now(),
        });
        Ok(self.store.audit_views(entries.collect(), FOLD).await?)
    }

    /// Writes down that whoever has a link saved a file.
    pub(super) async fn downloaded(&self, media: &Media, address: String) -> Result<(), Failure> {
        use aivms_contract::media::MediaKind;
        let action = match media.kind {
            MediaKind::Clip => Action::ClipDownloaded,
            MediaKind::Snapshot => Action::SnapshotDownloaded,
        };
        let entry = NewAudit {
            tenant: media.tenant,
            actor: Actor::link(),
            address: Some(address),
            action,
            subject: Some(media.media_id.to_string()),
            detail: json!({ "edge_id": media.edge_id.as_str(), "camera_id": media.camera_id.as_str() }),
            at: clock::now(),
        };
        Ok(self.store.audit_views(vec![entry], FOLD).await?)
    }
}

/// Files that links were given out to, one view per camera.
pub(super) fn links<'a>(
    action: Action,
    files: impl Iterator<Item = (&'a EdgeId, &'a CameraId, String)>,
) -> Vec<Viewed<'a>> {
    let mut by_camera: std::collections::BTreeMap<_, Vec<String>> = std::collections::BTreeMap::new();
    for (edge, camera, id) in files {
        by_camera.entry((edge, camera)).or_default().push(id);
    }
    let view = |((edge, camera), mut ids): ((&'a EdgeId, &'a CameraId), Vec<String>)| {
        let count = ids.len();
        ids.truncate(NAMED);
        Viewed { action, edge, camera, detail: json!({ "ids": ids, "links": count }) }
    };
    by_camera.into_iter().map(view).collect()
}
