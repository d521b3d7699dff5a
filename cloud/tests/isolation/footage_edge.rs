//! The relay of an appliance: answers what the cloud asks about footage, naming cameras of its own tenant.

use aivms_contract::relay::{FrameHeader, FrameKind, ToEdge};
use aivms_contract::time::UtcMillis;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::party::{Party, socket_url};

/// Answers as long as the test runs.
pub(crate) async fn connect(party: &Party<'_>) {
    let camera = party.thing("camera_id");
    let mut socket = open(party).await;
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            if let Some(answer) = answer(&ToEdge::read(&text).unwrap(), &camera) {
                socket.send(answer).await.unwrap();
            }
        }
    });
}

async fn open(
    party: &Party<'_>,
) -> tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>> {
    let mut request = socket_url(party.cloud, "/api/edge/relay").into_client_request().unwrap();
    let bearer = format!("Bearer {}", party.device.token());
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    connect_async(request).await.unwrap().0
}

fn answer(asked: &ToEdge, camera: &str) -> Option<Message> {
    let asked = serde_json::to_value(asked).unwrap();
    let request = asked["request"].as_u64()?;
    if asked["camera_id"].as_str().is_some_and(|id| id != camera) {
        let reason = "there is no such camera";
        return Some(Message::text(json!({ "type": "failed", "request": request, "reason": reason }).to_string()));
    }
    Some(match asked["type"].as_str()? {
        "cameras" => {
            let cameras = [json!({ "camera_id": camera, "live": true, "recorded": true })];
            Message::text(json!({ "type": "cameras", "request": request, "cameras": cameras }).to_string())
        }
        "timeline" => {
            Message::text(json!({ "type": "timeline", "request": request, "spans": [], "gaps": [] }).to_string())
        }
        "sprite" => frame(request, FrameKind::Jpeg, camera.as_bytes()),
        "boxes" => frame(request, FrameKind::Boxes, b"[]"),
        _ => return None,
    })
}

fn frame(request: u64, kind: FrameKind, body: &[u8]) -> Message {
    let time = UtcMillis::from_millis(0);
    let stream = u32::try_from(request).unwrap();
    let head = FrameHeader { kind, key: false, stream, wall: time, sent_at: time, duration_ms: 0, media_ms: 0 };
    Message::binary(head.frame(body))
}
