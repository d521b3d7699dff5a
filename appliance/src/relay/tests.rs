//! Streams over the real recorder and a camera's units, without a socket: what they hand to it is looked at.

use std::time::Duration;

use aivms_contract::relay::EndReason;
use aivms_contract::time::MediaClock;
use aivms_footage::VideoCodec;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::timeout;

use super::live::{Ended, LiveStream};
use super::outlet::{Gone, OutMessage, Outgoing, channel};
use super::permit::Permit;
use super::playback::{Order, PlaybackStream};
use super::sprite::Sprites;
use super::*;
use crate::masks::Gate;
use crate::pipeline::access_unit::AccessUnit;
use crate::testing::footage::{Site, at, gate, numbered};

/// Longest wait for one step on a loaded machine.
const LIMIT: Duration = Duration::from_secs(20);
/// A privacy mask over half of the picture.
fn half() -> Value {
    json!([[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]])
}

/// A relay with the camera `gate`, which has sent these units.
async fn relay_with(units: &[AccessUnit]) -> Relay {
    let relay = Relay::default();
    *relay.cameras() = vec![Known { camera: gate(), has_sub: false }];
    let (sender, unit_feed) = broadcast::channel(1024);
    let (_sounds, sound_feed) = broadcast::channel(1);
    let clock = watch::channel(MediaClock { zero_at: at(0) }).1;
    let feed = StreamFeed { role: StreamRole::Main, units: unit_feed, audio: sound_feed, clock };
    relay.connected(&gate(), feed);
    for unit in units {
        sender.send(unit.clone()).unwrap();
    }
    let fed = || relay.feed(&gate(), StreamRole::Main).is_some_and(|feed| !feed.tap().kept.is_empty());
    crate::testing::eventually("the units are kept", fed).await;
    // The connection stays.
    tokio::spawn(async move {
        let _sender = sender;
        std::future::pending::<()>().await;
    });
    relay
}

fn live() -> LiveStream {
    LiveStream { stream: 1, camera: gate(), h265: false }
}

fn playback() -> (PlaybackStream, mpsc::Receiver<Order>) {
    let (orders, ordered) = mpsc::channel(4);
    orders.try_send(Order::Credit(1_000)).unwrap();
    // Nobody closes it.
    std::mem::forget(orders);
    let stream = PlaybackStream { stream: 2, camera: gate(), from: at(0), key_frames_only: false, h265: false };
    (stream, ordered)
}

fn frames(messages: &mut mpsc::Receiver<Outgoing>) -> usize {
    let messages = std::iter::from_fn(|| messages.try_recv().ok());
    messages.filter(|outgoing| matches!(outgoing.message, OutMessage::Frame(_))).count()
}

async fn ended(stream: impl Future<Output = Result<Ended, Gone>>) -> EndReason {
    timeout(LIMIT, stream).await.expect("the stream goes on").unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_whose_masks_nobody_knows_is_shown_as_little_as_one_with_a_mask() {
    let units = numbered(VideoCodec::H264, 0, 3);
    let (site, relay) = (Site::new(&half()), relay_with(&units).await);
    site.record(at(0), &units).await;
    let (_keeper, unknown) = Gate::new();
    for (gate_of_site, reason) in [(&site.gate, EndReason::Masked), (&unknown, EndReason::UnknownCamera)] {
        let permit = Permit::new(gate_of_site, &gate());
        let (outlet, mut messages) = channel();
        assert_eq!(ended(live().run(relay.clone(), permit.clone(), outlet.clone())).await, reason);
        let (stream, orders) = playback();
        assert_eq!(ended(stream.run(permit, site.footage.clone(), orders, outlet)).await, reason);
        assert_eq!(frames(&mut messages), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_ends_live_video_and_playback_at_once_and_takes_back_what_waits_for_the_line() {
    let units = numbered(VideoCodec::H264, 0, 3);
    let (site, relay) = (Site::new(&json!([])), relay_with(&units).await);
    site.record(at(0), &units).await;
    let permit = Permit::new(&site.gate, &gate());
    for is_live in [true, false] {
        site.mask(&json!([]));
        let (outlet, mut messages) = channel();
        let showing = if is_live {
            tokio::spawn(live().run(relay.clone(), permit.clone(), outlet))
        } else {
            let (stream, orders) = playback();
            tokio::spawn(stream.run(permit.clone(), site.footage.clone(), orders, outlet))
        };
        let mut waiting = Vec::new();
        while waiting.len() < 3 {
            let outgoing = timeout(LIMIT, messages.recv()).await.expect("pictures come").unwrap();
            waiting.extend(outgoing.permit.is_some().then_some(outgoing));
        }
        assert!(waiting.iter().all(Outgoing::may_leave) && !showing.is_finished());
        site.mask(&half());
        let reason = ended(async { showing.await.unwrap() }).await;
        assert_eq!(reason, EndReason::Masked);
        assert!(!waiting.iter().any(Outgoing::may_leave), "what waits does not leave any more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_pictures_of_a_camera_with_a_mask_are_neither_made_nor_kept() {
    let units = numbered(VideoCodec::H264, 0, 3);
    let site = Site::new(&json!([]));
    site.record(at(0), &units).await;
    let (sprites, permit) = (Sprites::default(), Permit::new(&site.gate, &gate()));
    let (forgetting, hidden) = (sprites.clone(), site.gate.clone());
    let forgetting = tokio::spawn(async move { forgetting.forget_hidden(hidden).await });
    let sprite = || sprites.clone().of_hour(site.footage.clone(), permit.clone(), at(0));
    assert!(sprite().await.unwrap().len() > 1_000);
    assert_eq!(sprites.count(), 1);
    site.mask(&half());
    crate::testing::eventually("the sprite is forgotten", || sprites.count() == 0).await;
    let refusal = sprite().await.unwrap_err();
    assert!(refusal.contains("privacy mask"), "{refusal}");
    assert_eq!(sprites.count(), 0);
    forgetting.abort();
}
