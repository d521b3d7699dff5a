//! How an edge is: presence, health and certificates.

mod health;

use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::page::Cursor;
use aivms_contract::envelope::Body;
use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};

use self::health::HealthAnswer;
use super::events::{cursor_of, default_limit, page_request};
use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Text, Time, time};
use super::{Services, Tags};
use crate::clock;
use crate::store::{EdgeCertificate, EventFilter, PresenceEvent, PresenceKind, StoreError};

/// How far back reports are listed when nobody says since when.
const USUAL_HISTORY: Duration = Duration::from_secs(24 * 3600);

pub(super) struct EdgeStateApi(pub Arc<Services>);

/// What was told of an edge's presence.
#[derive(Debug, Object)]
struct PresencePage {
    /// Newest first.
    items: Vec<PresenceAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

/// Something that was told of an edge's presence.
#[derive(Debug, Object)]
#[oai(rename = "PresenceEvent")]
struct PresenceAnswer {
    /// What was told.
    kind: PresenceChange,
    /// Since when the edge is there, its last sign of life, or when the take-over was seen.
    at: Text<Time>,
    /// When it was told: after the hold-off.
    noted_at: Text<Time>,
    /// What was seen; null where the kind says all.
    #[oai(nullable)]
    detail: Option<String>,
}

/// What is told of an edge's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum PresenceChange {
    /// It is there, and has been for a while.
    Online,
    /// It has not been heard of for longer than the time limit and the hold-off.
    Offline,
    /// Its connections replace each other: its identity seems to be in use in two boxes.
    TakeOver,
}

/// Health reports of an edge.
#[derive(Debug, Object)]
struct HealthPage {
    /// Newest first.
    items: Vec<HealthAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

/// Certificates of an edge.
#[derive(Debug, Object)]
struct CertificateList {
    /// Newest first, at most 200.
    items: Vec<CertificateAnswer>,
}

/// A certificate of an edge.
#[derive(Debug, Object)]
#[oai(rename = "EdgeCertificate")]
struct CertificateAnswer {
    /// SHA-256 of the certificate in DER, in hexadecimal digits.
    fingerprint: String,
    /// Whether it counts.
    state: CertificateState,
    /// When it was issued.
    issued_at: Text<Time>,
    /// End of its life; the edge renews it at two thirds.
    not_after: Text<Time>,
    /// When it was withdrawn; null otherwise.
    #[oai(nullable)]
    revoked_at: Option<Text<Time>>,
}

/// Whether a certificate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum CertificateState {
    /// The edge may use it.
    Active,
    /// Its life has ended.
    Expired,
    /// It was withdrawn: by a newer enrolment, a rotated secret, or with the edge.
    Revoked,
}

#[OpenApi(prefix_path = "/api/tenant/edges", tag = "Tags::Edges")]
impl EdgeStateApi {
    /// List what was told of an edge's presence
    ///
    /// Newest first. An edge is told offline only after it has been silent for the time limit and a hold-off, and
    /// online again only once it has been heard for a while.
    #[oai(path = "/:edge_id/presence", method = "get", operation_id = "list_presence")]
    async fn presence(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<PresencePage>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let page = page_request(limit.0, cursor.0);
        let page = self.0.store.presence_events(signed_in.user().tenant, &edge_id, page).await?;
        let next_cursor = page.next(|last| Text(Cursor(last.id)));
        let items = page.items.into_iter().map(PresenceAnswer::from).collect();
        Ok(Json(PresencePage { items, next_cursor }))
    }

    /// Show an edge's health
    ///
    /// Its newest report: disks with their forecast, cameras and their recording, temperatures, what waits to be
    /// stored. Cameras that may not be seen are left out.
    #[oai(path = "/:edge_id/health", method = "get", operation_id = "show_health")]
    async fn health(&self, signed_in: SignedIn, edge_id: Path<Text<EdgeId>>) -> Result<Json<HealthAnswer>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let scope = signed_in.cameras().clone();
        let newest = self.0.store.newest_health(signed_in.user().tenant, &edge_id).await?;
        let newest = newest.ok_or_else(|| Failure::not_found("the edge has not reported its health yet"))?;
        Ok(Json(HealthAnswer::new(&edge_id, newest.report, newest.received_at, &scope)))
    }

    /// List an edge's health reports
    ///
    /// Newest first, of the last day unless `start_time` says otherwise.
    #[oai(path = "/:edge_id/health/history", method = "get", operation_id = "list_health")]
    async fn health_history(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time.
        end_time: Query<Option<Text<Time>>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<HealthPage>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let scope = signed_in.cameras().clone();
        let end = end_time.0.map(|Text(Time(at))| at);
        let start = start_time.0.map_or_else(|| a_day_before(end), |Text(Time(at))| at);
        let filter = EventFilter { start: Some(start), end, ..EventFilter::default() };
        let page = page_request(limit.0, cursor.0);
        let page = self.0.store.list_health(signed_in.user().tenant, &edge_id, filter, page).await?;
        let next_cursor = cursor_of(page.next);
        let items = page.items.into_iter().filter_map(|event| match event.envelope.body {
            Body::Health(report) => Some(HealthAnswer::new(&edge_id, report, event.received_at, &scope)),
            _ => None,
        });
        Ok(Json(HealthPage { items: items.collect(), next_cursor }))
    }

    /// List an edge's certificates
    #[oai(path = "/:edge_id/certificates", method = "get", operation_id = "list_edge_certificates")]
    async fn certificates(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
    ) -> Result<Json<CertificateList>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let tenant = signed_in.user().tenant;
        let edge = self.0.store.edge(tenant, &edge_id).await?.ok_or(StoreError::NotFound)?;
        let certificates = self.0.store.edge_certificates(tenant, &edge_id).await?;
        let now = clock::now();
        let items = certificates.iter().map(|certificate| certificate_answer(certificate, edge.revoked, now));
        Ok(Json(CertificateList { items: items.collect() }))
    }
}

fn a_day_before(end: Option<UtcMillis>) -> UtcMillis {
    let end = end.unwrap_or_else(clock::now);
    let day = i64::try_from(USUAL_HISTORY.as_millis()).unwrap_or(i64::MAX);
    UtcMillis::from_millis(end.as_millis().saturating_sub(day))
}

fn certificate_answer(certificate: &EdgeCertificate, edge_is_revoked: bool, now: UtcMillis) -> CertificateAnswer {
    let EdgeCertificate { fingerprint, issued_at, not_after, revoked_at } = *certificate;
    let state = if revoked_at.is_some() || edge_is_revoked {
        CertificateState::Revoked
    } else if not_after <= now {
        CertificateState::Expired
    } else {
        CertificateState::Active
    };
    CertificateAnswer {
        fingerprint: hex::encode(fingerprint),
        state,
        issued_at: time(issued_at),
        not_after: time(not_after),
        revoked_at: revoked_at.map(time),
    }
}

impl From<PresenceEvent> for PresenceAnswer {
    fn from(event: PresenceEvent) -> Self {
        let kind = match event.kind {
            PresenceKind::Online => PresenceChange::Online,
            PresenceKind::Offline => PresenceChange::Offline,
            PresenceKind::TakeOver => PresenceChange::TakeOver,
        };
        Self { kind, at: time(event.at), noted_at: time(event.noted_at), detail: event.detail }
    }
}
