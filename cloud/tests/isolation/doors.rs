//! The doors beside the document: the live feed, live view, links to files, relays of appliances, pages.

use aivms_cloud::api::OUTSIDE_THE_DOCUMENT;
use futures_util::StreamExt;
use reqwest::Method;
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::cloud::{Answer, Cloud, SOON};
use crate::party::{Caller, Party, ROLES, Seen, socket_url};
use crate::stock::tenant_with_events;

/// Each door and what keeps it. A new one has no entry, which fails the test below.
const DOORS: [(&str, &str); 17] = [
    ("/.well-known/security.txt", "open"),
    ("/healthz", "open"),
    ("/readyz", "open"),
    ("/openapi.json", "open"),
    ("/docs", "open"),
    ("/viewer", "open"),
    ("/viewer/viewer.css", "open"),
    ("/viewer/viewer.js", "open"),
    ("/viewer/player.js", "open"),
    ("/sign-in", "open"),
    ("/sign-in/sign-in.js", "open"),
    ("/api/events/live", "a person's token"),
    ("/api/edge/relay", "an edge's token"),
    ("/api/live/stream", "a ticket"),
    ("/media/{token}", "the link itself"),
    ("/exports/{token}", "the link itself"),
    ("/api/notifications/unsubscribe", "the link itself"),
];

/// The live feed of a tenant, written down byte by byte.
pub(crate) struct Feed(JoinHandle<String>);

impl Feed {
    pub(crate) async fn open(party: &Party<'_>) -> Self {
        let request = party.cloud.request(Method::GET, "/api/events/live").bearer_auth(&party.owner.token);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let (mut bytes, end) = (response.bytes_stream(), "the-last-one".to_owned());
        Self(tokio::spawn(async move {
            let mut heard = String::new();
            while !heard.contains(&end) {
                let piece = tokio::time::timeout(2 * SOON, bytes.next()).await.expect("the last event in time");
                heard.push_str(&String::from_utf8_lossy(&piece.unwrap().unwrap()).to_lowercase());
            }
            heard
        }))
    }

    /// Waits until an event that is sent now has come, and gives all that came.
    pub(crate) async fn close(self, party: &Party<'_>) -> String {
        let mut event = party.device.detection(party.number());
        if let aivms_contract::envelope::Body::Detections(detection) = &mut event.body {
            detection.object_class = "the-last-one".into();
        }
        party.device.deliver(party.cloud, &[event]).await.assert_ok();
        self.0.await.unwrap()
    }
}

#[tokio::test]
async fn every_door_beside_the_document_asks_who_is_there_unless_it_shows_nothing_of_a_tenant() {
    let cloud = Cloud::start().await;
    let parties = [tenant_with_events(&cloud, "acme").await, tenant_with_events(&cloud, "rival").await];
    for path in OUTSIDE_THE_DOCUMENT {
        let door = DOORS.iter().find(|(known, _)| *known == path);
        let (_, keeper) = door.unwrap_or_else(|| panic!("{path} is a new door: say in DOORS what keeps it"));
        let seen = Seen::of(cloud.request(Method::GET, &path.replace("{token}", "x"))).await;
        let expected = match *keeper {
            "open" => 200,
            "the link itself" => 404,
            // What is asked for before anybody is asked who they are: that it is a WebSocket.
            "a ticket" => 400,
            _ => 401,
        };
        assert!(seen.status == expected || (seen.status, expected) == (400, 401), "{path}: {}", seen.status);
        for party in &parties {
            assert!(!seen.whole().contains(&party.marker), "{path} shows something of {}", party.marker);
        }
    }
}

#[tokio::test]
async fn a_place_in_another_tenants_feed_is_answered_as_one_that_never_was() {
    let cloud = Cloud::start().await;
    let (acme, rival) = (Party::new(&cloud, "acme").await, Party::new(&cloud, "rival").await);
    let request = cloud.request(Method::GET, "/api/events/live").bearer_auth(&acme.owner.token);
    let mut bytes = request.send().await.unwrap().bytes_stream();
    let mut first = String::new();
    while !first.contains("id:") || !first.ends_with("\n\n") {
        first.push_str(&String::from_utf8_lossy(&bytes.next().await.unwrap().unwrap()));
    }
    let id = first.lines().find_map(|line| line.strip_prefix("id:")).unwrap().trim().to_owned();
    let mut never = id.clone();
    never.replace_range(id.len() - 4.., if id.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    for role in ROLES {
        let token = rival.token(Caller::Person(role)).unwrap();
        let mut answers = Vec::new();
        for place in [&id, &never] {
            let request = cloud.request(Method::GET, "/api/events/live").bearer_auth(&token);
            answers.push(Answer::of(request.header("last-event-id", place)).await);
        }
        assert_eq!(answers[0].status, 400);
        assert_eq!(answers[0].body, answers[1].body, "{role}");
    }
}

#[tokio::test]
async fn a_link_to_a_file_that_was_changed_anywhere_opens_nothing() {
    let cloud = Cloud::start().await;
    let [acme, rival] = [tenant_with_events(&cloud, "acme").await, tenant_with_events(&cloud, "rival").await];
    let link = async |party: &Party<'_>| {
        cloud.get_as(&party.owner, &format!("/api/clips/{}", party.thing("clip_id"))).await.text("url")
    };
    let (ours, theirs) = (link(&acme).await, link(&rival).await);
    let shown = Seen::of(cloud.request(Method::GET, &ours)).await;
    assert!(shown.status == 200 && shown.text.contains(&acme.marker));
    let nothing = Seen::of(cloud.request(Method::GET, "/media/x")).await;
    let (head, token) = ours.split_at("/media/".len());
    for place in 0..token.len() {
        let mut changed = token.as_bytes().to_vec();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        // The last character of base64 may hold bits that mean nothing; those must not be taken either.
        let changed = format!("{head}{}", String::from_utf8(changed).unwrap());
        let seen = Seen::of(cloud.request(Method::GET, &changed)).await;
        assert_eq!((seen.status, &seen.text), (404, &nothing.text), "place {place} of the link");
    }
    // Half of one tenant's link and half of another's.
    let mixed = format!("{}{}", &ours[..ours.len() / 2], &theirs[theirs.len() / 2..]);
    assert_eq!(Seen::of(cloud.request(Method::GET, &mixed)).await.text, nothing.text);
}

#[tokio::test]
async fn live_view_opens_with_a_ticket_for_an_edge_of_ones_own_once_and_from_our_pages_only() {
    let cloud = Cloud::start().await;
    let (acme, rival) = (Party::new(&cloud, "acme").await, Party::new(&cloud, "rival").await);
    let wanted = serde_json::json!({ "edge_id": acme.device.edge_id, "camera_id": "door" });
    cloud.post_as(&rival.owner, "/api/live/tickets", wanted.clone()).await.assert_problem(404, None);
    let ticket = cloud.post_as(&acme.owner, "/api/live/tickets", wanted).await.text("ticket");
    let url = socket_url(&cloud, &format!("/api/live/stream?ticket={ticket}"));
    let open = async |url: &str, origin: Option<&str>| {
        let mut request = url.into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        match connect_async(request).await {
            Ok(_) => 101,
            Err(Error::Http(answer)) => answer.status().as_u16(),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(open(&url, Some("https://evil.example")).await, 403, "a page of another host");
    assert_eq!(open(&url, None).await, 101);
    assert_eq!(open(&url, None).await, 401, "it was used");
    assert_eq!(open(&socket_url(&cloud, "/api/live/stream?ticket=never"), None).await, 401);
    // A person's token opens no relay, and an edge's only its own place: there is nothing to name another by.
    let mut relay = socket_url(&cloud, "/api/edge/relay").into_client_request().unwrap();
    relay.headers_mut().insert("authorization", format!("Bearer {}", acme.owner.token).parse().unwrap());
    assert!(matches!(connect_async(relay).await, Err(Error::Http(answer)) if answer.status() == 401));
}
