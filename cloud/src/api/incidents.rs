//! Incidents: alerts of one edge that followed each other, under one name.

use std::sync::Arc;

use aivms_cloud_core::page::Cursor;
use aivms_cloud_core::rules::IncidentId;
use aivms_contract::id::EdgeId;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::alerts::{AlertStateName, asker};
use super::events::{default_limit, page_request, plain};
use super::failure::Failure;
use super::rules::{AlertSeverity, in_words};
use super::signed_in::SignedIn;
use super::values::{Text, Time, time};
use super::{Services, Tags};
use crate::store::{Incident, IncidentFilter, StoreError};

pub(super) struct IncidentsApi(pub Arc<Services>);

/// An incident; alerts of cameras that you may not see do not count.
#[derive(Debug, Object)]
#[oai(rename = "Incident")]
struct IncidentAnswer {
    /// The incident; `GET /api/events/alerts?incident_id=` lists its alerts.
    incident_id: Text<IncidentId>,
    /// Where it happened.
    edge_id: Text<EdgeId>,
    /// When its first alert's cause happened.
    first_at: Text<Time>,
    /// When its last alert's cause happened.
    last_at: Text<Time>,
    /// How urgent its most urgent alert is.
    severity: AlertSeverity,
    /// What its first alert tells, in one line.
    title: String,
    /// Alerts that nobody has acknowledged.
    open: u32,
    /// Alerts that somebody looks after.
    acknowledged: u32,
    /// Alerts that are done.
    resolved: u32,
}

/// A page of incidents.
#[derive(Debug, Object)]
struct IncidentPage {
    /// Newest first.
    items: Vec<IncidentAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

#[OpenApi(prefix_path = "/api/events/incidents", tag = "Tags::Alerts")]
impl IncidentsApi {
    /// List incidents
    ///
    /// Newest first, by their beginning. An incident joins the alerts of one edge that are at most five minutes apart,
    /// for an hour at most.
    #[oai(path = "/", method = "get", operation_id = "list_incidents")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// With an alert in this state.
        state: Query<Option<AlertStateName>>,
        /// Of this edge.
        edge_id: Query<Option<Text<EdgeId>>>,
        /// That begin not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// That begin before this time.
        end_time: Query<Option<Text<Time>>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<IncidentPage>, Failure> {
        let filter = IncidentFilter {
            with_state: state.0.map(Into::into),
            edge_id: edge_id.0.map(plain),
            start: start_time.0.map(|Text(Time(at))| at),
            end: end_time.0.map(|Text(Time(at))| at),
        };
        let request = page_request(limit.0, cursor.0);
        let page = self.0.store.list_incidents(asker(&signed_in), filter, request).await?;
        let last = page.next(|one| Text(Cursor(one.incident_id.0)));
        Ok(Json(IncidentPage { items: page.items.into_iter().filter_map(answer).collect(), next_cursor: last }))
    }

    /// Show an incident
    #[oai(path = "/:incident_id", method = "get", operation_id = "show_incident")]
    async fn show(
        &self,
        signed_in: SignedIn,
        /// The incident.
        incident_id: Path<Text<IncidentId>>,
    ) -> Result<Json<IncidentAnswer>, Failure> {
        let found = self.0.store.incident(asker(&signed_in), plain(incident_id.0)).await?;
        answer(found.ok_or(StoreError::NotFound)?).map(Json).ok_or_else(Failure::internal)
    }
}

fn answer(incident: Incident) -> Option<IncidentAnswer> {
    Some(IncidentAnswer {
        incident_id: Text(incident.incident_id),
        edge_id: Text(incident.edge_id),
        first_at: time(incident.first_at),
        last_at: time(incident.last_at),
        severity: in_words(&incident.severity)?,
        title: incident.title,
        open: incident.open,
        acknowledged: incident.acknowledged,
        resolved: incident.resolved,
    })
}
