//! What an edge has to show: its cameras, what is recorded, and tickets to look at it. The edge answers.

use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::relay::{Answer, Ask, Full, Wanted};
use aivms_contract::footage::GapCause;
use aivms_contract::id::{CameraId, EdgeId};
use aivms_contract::relay::{FrameHeader, FromEdge, View};
use aivms_contract::time::UtcMillis;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Binary, Json};
use poem_openapi::types::Any;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Deserialize;
use serde_json::{Value, json};

use super::edge_relay::RETRY;
use super::failure::Failure;
use super::passing::{answer_of, ask_here};
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, example_end, time};
use super::views::Viewed;
use super::{Services, Tags, secrets};
use crate::clock;
use crate::relay::{Place, Reached, Ticket};
use crate::servers::Errand;
use crate::store::{EdgeKey, StoreError, TenantKey, User};

/// How long an edge may take to answer: it may have to be called and to connect first.
const ANSWER_LIMIT: Duration = Duration::from_secs(12);
/// How long it may take to make the pictures of an hour; less than a request may take in all.
const SPRITE_LIMIT: Duration = Duration::from_secs(25);
/// Longest time asked for at once.
const MAX_TIMELINE: Duration = Duration::from_secs(32 * 24 * 3_600);
/// Longest time whose boxes are asked for at once.
const MAX_BOXES: Duration = Duration::from_secs(3_600);

pub(super) struct FootageApi(pub Arc<Services>);

/// What is to be looked at.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct NewTicketRequest {
    /// The edge.
    edge_id: Text<EdgeId>,
    /// The camera.
    camera_id: Text<CameraId>,
    /// Where playback begins; live video when absent.
    #[serde(default)]
    from: Option<Text<Time>>,
    /// Whether only key pictures are wanted, for fast forward. Playback only.
    #[serde(default)]
    #[oai(default)]
    key_frames_only: bool,
    /// Whether the viewer plays H.265.
    #[serde(default)]
    #[oai(default)]
    h265: bool,
}

/// A ticket.
#[derive(Debug, Object)]
#[oai(rename = "Ticket")]
struct TicketAnswer {
    /// To be used once, with `GET /api/live/stream?ticket=…`.
    ticket: String,
    /// When it ends.
    expires_at: Text<Time>,
}

#[derive(ApiResponse)]
enum Bought {
    /// The ticket.
    #[oai(status = 201)]
    Done(Json<TicketAnswer>),
}

/// A camera one can look at.
#[derive(Debug, Object)]
#[oai(rename = "Camera")]
struct CameraAnswer {
    /// The camera.
    camera_id: Text<CameraId>,
    /// Whether it gives video now.
    live: bool,
    /// Whether footage of it is kept.
    recorded: bool,
    /// Whether a privacy mask is burned into what is shown.
    masked: bool,
}

/// The cameras of an edge.
#[derive(Debug, Object)]
struct CameraList {
    /// In the order of the edge's configuration.
    items: Vec<CameraAnswer>,
}

/// What is recorded of a camera in a time.
#[derive(Debug, Object)]
#[oai(rename = "Timeline")]
struct TimelineAnswer {
    /// Spans with video, in order.
    spans: Vec<SpanAnswer>,
    /// Spans without video whose cause is known, in order.
    gaps: Vec<GapAnswer>,
}

/// A span with video.
#[derive(Debug, Object)]
#[oai(rename = "Span")]
struct SpanAnswer {
    /// Its beginning.
    start: Text<Time>,
    /// Its end.
    end: Text<Time>,
}

/// A span without video.
#[derive(Debug, Object)]
#[oai(rename = "Gap", skip_serializing_if_is_none)]
struct GapAnswer {
    /// End of the video before.
    start: Text<Time>,
    /// Beginning of the video after; absent while there is none.
    end: Option<Text<Time>>,
    /// Whose fault it is.
    cause: Cause,
}

/// Whose fault a span without video is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "GapCause", rename_all = "snake_case")]
enum Cause {
    /// The camera answered and sent no video that can be recorded.
    Camera,
    /// The camera could not be reached.
    Network,
    /// The disk took nothing.
    Disk,
    /// The appliance was not running.
    Restart,
    /// The appliance was at fault.
    Internal,
    /// Switched off on purpose.
    SwitchedOff,
    /// There was video once, and it was deleted.
    Deleted,
}

#[derive(ApiResponse)]
enum Sprite {
    /// Pictures of 160 by 90 pixels, twenty in a row, one for each 20 seconds of the hour; black where there is none.
    #[oai(status = 200, content_type = "image/jpeg")]
    Jpeg(Binary<Vec<u8>>),
}

#[OpenApi(tag = "Tags::Footage")]
impl FootageApi {
    /// Buy a ticket to look at a camera
    ///
    /// It is good once, for half a minute, on the WebSocket `GET /api/live/stream?ticket=…`.
    #[oai(path = "/api/live/tickets", method = "post", operation_id = "buy_live_ticket")]
    async fn ticket(&self, signed_in: SignedIn, body: Body<NewTicketRequest>) -> Result<Bought, Failure> {
        let NewTicketRequest { edge_id: Text(edge), camera_id: Text(camera), from, key_frames_only, h265 } = body.0;
        signed_in.must_see(&edge, &camera)?;
        let (ends_at, credential, doer) = (signed_in.0.ends_at, signed_in.0.credential.clone(), signed_in.doer());
        let user = signed_in.user();
        if from.is_none() && key_frames_only {
            return Err(Failure::unacceptable("key_frames_only", "is for playback: say from when on with from"));
        }
        let place = self.place(&user, edge).await?;
        let detail = match &from {
            None => json!({ "view": "live" }),
            Some(Text(Time(from))) => json!({ "view": "playback", "from": from }),
        };
        let viewed = Viewed { action: Action::FootageViewed, edge: &place.edge, camera: &camera, detail };
        self.0.viewed(user.tenant, &doer, &[viewed]).await?;
        let view = from.map_or(View::Live, |Text(Time(from))| View::Playback { from, key_frames_only });
        let (number, good_until) = (secrets::random_text()?, clock::now() + crate::relay::TICKET_LIFETIME);
        let wanted = Wanted { camera, view, h265 };
        let ticket = Ticket { number, good_until, place, wanted, user: user.key, credential, ends_at };
        let ticket = self.0.relay.tickets().write(&ticket).ok_or_else(Failure::internal)?;
        Ok(Bought::Done(Json(TicketAnswer { ticket, expires_at: time(good_until) })))
    }

    /// List the cameras of an edge
    ///
    /// The edge itself answers, as with everything under its path.
    #[oai(path = "/api/edges/:edge_id/cameras", method = "get", operation_id = "list_cameras")]
    async fn cameras(&self, signed_in: SignedIn, edge_id: Path<Text<EdgeId>>) -> Result<Json<CameraList>, Failure> {
        let (scope, edge_id) = (signed_in.cameras().clone(), edge_id.0.0);
        let answer = self.ask(&signed_in.user(), edge_id.clone(), &Ask::Cameras, ANSWER_LIMIT).await?;
        let Answer::Text(FromEdge::Cameras { cameras, .. }) = answer else { return Err(not_understood()) };
        let seen = cameras.into_iter().filter(|camera| scope.sees(&edge_id, &camera.camera_id));
        let items = seen.map(|camera| CameraAnswer {
            camera_id: Text(camera.camera_id),
            live: camera.live,
            recorded: camera.recorded,
            masked: camera.masked,
        });
        Ok(Json(CameraList { items: items.collect() }))
    }

    /// Show what is recorded
    #[oai(path = "/api/edges/:edge_id/cameras/:camera_id/timeline", method = "get", operation_id = "show_timeline")]
    async fn timeline(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        camera_id: Path<Text<CameraId>>,
        /// Beginning: RFC 3339, or without a zone, which is UTC.
        from: Query<Text<Time>>,
        /// End, at most 32 days later.
        #[oai(example = "example_end")]
        to: Query<Text<Time>>,
    ) -> Result<Json<TimelineAnswer>, Failure> {
        signed_in.must_see(&edge_id.0.0, &camera_id.0.0)?;
        let (from, to) = span(from, to, MAX_TIMELINE)?;
        let ask = Ask::Timeline(camera_id.0.0, from, to);
        let answer = self.ask(&signed_in.user(), edge_id.0.0, &ask, ANSWER_LIMIT).await?;
        let Answer::Text(FromEdge::Timeline { spans, gaps, .. }) = answer else { return Err(not_understood()) };
        let spans = spans.into_iter().map(|span| SpanAnswer { start: time(span.start), end: time(span.end) });
        let gaps = gaps.into_iter().map(|gap| GapAnswer {
            start: time(gap.start),
            end: gap.end.map(time),
            cause: gap.cause.into(),
        });
        Ok(Json(TimelineAnswer { spans: spans.collect(), gaps: gaps.collect() }))
    }

    /// Show small pictures of an hour
    ///
    /// For scrubbing. The first request for an hour takes as long as its pictures take to be decoded.
    #[oai(path = "/api/edges/:edge_id/cameras/:camera_id/sprite", method = "get", operation_id = "show_sprite")]
    async fn sprite(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        camera_id: Path<Text<CameraId>>,
        /// Any moment of the hour, in UTC.
        hour: Query<Text<Time>>,
    ) -> Result<Sprite, Failure> {
        signed_in.must_see(&edge_id.0.0, &camera_id.0.0)?;
        let Query(Text(Time(hour))) = hour;
        let (doer, detail) = (signed_in.doer(), json!({ "view": "pictures", "from": hour }));
        let viewed = Viewed { action: Action::FootageViewed, edge: &edge_id.0.0, camera: &camera_id.0.0, detail };
        self.0.viewed(signed_in.0.user.tenant, &doer, &[viewed]).await?;
        let ask = Ask::Sprite(camera_id.0.0, hour);
        let answer = self.ask(&signed_in.user(), edge_id.0.0, &ask, SPRITE_LIMIT).await?;
        Ok(Sprite::Jpeg(Binary(payload(&answer)?.to_vec())))
    }

    /// Show what was detected
    ///
    /// For drawing boxes over playback: `t` is the wall time of a picture in milliseconds since 1970, `at` left, top,
    /// right and bottom edge in fractions of the picture.
    #[oai(path = "/api/edges/:edge_id/cameras/:camera_id/boxes", method = "get", operation_id = "show_boxes")]
    async fn boxes(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        camera_id: Path<Text<CameraId>>,
        /// Beginning: RFC 3339, or without a zone, which is UTC.
        from: Query<Text<Time>>,
        /// End, at most an hour later.
        #[oai(example = "example_end")]
        to: Query<Text<Time>>,
    ) -> Result<Json<Vec<Any<Value>>>, Failure> {
        signed_in.must_see(&edge_id.0.0, &camera_id.0.0)?;
        let (from, to) = span(from, to, MAX_BOXES)?;
        let ask = Ask::Boxes(camera_id.0.0, from, to);
        let answer = self.ask(&signed_in.user(), edge_id.0.0, &ask, ANSWER_LIMIT).await?;
        let boxes: Vec<Value> = serde_json::from_slice(payload(&answer)?).map_err(|_| not_understood())?;
        Ok(Json(boxes.into_iter().map(Any).collect()))
    }
}

impl FootageApi {
    async fn place(&self, user: &User, edge: EdgeId) -> Result<Place, Failure> {
        let key = edge_to_ask(&self.0, user.tenant, &edge).await?;
        Ok(Place { tenant: user.tenant_id.clone(), edge, key })
    }

    async fn ask(&self, user: &User, edge: EdgeId, ask: &Ask, limit: Duration) -> Result<Answer, Failure> {
        let place = self.place(user, edge).await?;
        let errand = Errand::Ask { place: place.clone(), ask: ask.clone(), limit };
        let full = |full: Full| Failure::too_many(full.to_string(), Duration::from_secs(1));
        let answer = match self.0.relay.reach(&errand).await? {
            Reached::Here => ask_here(&self.0, &place, ask, limit).await.map_err(full)?,
            Reached::There(link) => answer_of(*link, limit).await?,
            Reached::Refused(reason) => return Err(Failure::unavailable(reason, RETRY)),
        };
        match answer {
            Answer::EdgeAway => Err(Failure::edge_away()),
            Answer::Text(FromEdge::Failed { reason, .. }) => Err(Failure::not_found(reason)),
            answer => Ok(answer),
        }
    }
}

/// The edge, if it is of this tenant and may still be asked.
async fn edge_to_ask(services: &Services, tenant: TenantKey, edge_id: &EdgeId) -> Result<EdgeKey, Failure> {
    let edge = services.store.edge(tenant, edge_id).await?.ok_or(StoreError::NotFound)?;
    if edge.revoked {
        return Err(Failure::conflict(Some("edge_id"), "edge_id: this edge has been revoked"));
    }
    Ok(edge.key)
}

fn span(from: Query<Text<Time>>, to: Query<Text<Time>>, most: Duration) -> Result<(UtcMillis, UtcMillis), Failure> {
    let (Query(Text(Time(from))), Query(Text(Time(to)))) = (from, to);
    if to <= from {
        return Err(Failure::unacceptable("to", "must be after from"));
    }
    if to.since(from) > most {
        return Err(Failure::unacceptable("to", format!("may be at most {} hours after from", most.as_secs() / 3_600)));
    }
    Ok((from, to))
}

/// What stands behind the head of a binary answer.
fn payload(answer: &Answer) -> Result<&[u8], Failure> {
    let Answer::Frame(frame) = answer else { return Err(not_understood()) };
    FrameHeader::read(frame).map(|(_, body)| body).map_err(|_| not_understood())
}

/// The edge answered with something else than was asked for; it may be newer or older than the cloud.
pub(super) fn not_understood() -> Failure {
    Failure::unavailable("the edge's answer is not understood; is its version the cloud's?", Duration::from_secs(60))
}

impl From<GapCause> for Cause {
    fn from(cause: GapCause) -> Self {
        match cause {
            GapCause::Camera => Self::Camera,
            GapCause::Network => Self::Network,
            GapCause::Disk => Self::Disk,
            GapCause::Restart => Self::Restart,
            GapCause::Internal => Self::Internal,
            GapCause::SwitchedOff => Self::SwitchedOff,
            GapCause::Deleted => Self::Deleted,
        }
    }
}

impl poem_openapi::types::Example for NewTicketRequest {
    fn example() -> Self {
        Self {
            edge_id: Text("edge_01kb3x0v7t5m9q2r8s4w6y1z3a".parse().expect("an edge id")),
            camera_id: Text("front-door".parse().expect("a camera id")),
            from: None,
            key_frames_only: false,
            h265: false,
        }
    }
}
