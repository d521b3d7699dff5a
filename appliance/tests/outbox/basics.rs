//! The outbox over real files: order, nothing lost, shedding, damage.

use std::time::Duration;

use crate::site::{self, Site, body};
use aivms_appliance::outbox::{Outbox, OutboxError};
use aivms_appliance::state::{State, StateError};
use aivms_contract::topic::UpKind;

#[tokio::test]
async fn kept_entries_are_read_in_order_and_gone_once_acknowledged() {
    let site = Site::new();
    let (outbox, state) = site.open();
    let mut seqs = Vec::new();
    for number in 0..10 {
        seqs.push(outbox.append(body(UpKind::ZoneEvents, number, 100)).await.unwrap());
    }
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(*outbox.kept().borrow(), seqs[9]);
    let read = outbox.read_after(0, 100, usize::MAX).await.unwrap();
    assert_eq!(read.iter().map(|entry| entry.seq).collect::<Vec<_>>(), seqs);
    for (number, entry) in read.iter().enumerate() {
        site::check_entry(&outbox, entry, number as u64);
    }
    outbox.acknowledge(seqs[6]).await.unwrap();
    assert_eq!(outbox.acknowledged(), seqs[6]);
    assert_eq!(outbox.health().entries, 3);
    outbox.close().await;
    drop(state);

    let (outbox, _state) = site.open();
    assert_eq!(outbox.acknowledged(), seqs[6]);
    let left = outbox.read_after(outbox.acknowledged(), 100, usize::MAX).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.seq).collect::<Vec<_>>(), seqs[7..]);
    let next = outbox.append(body(UpKind::Alerts, 10, 10)).await.unwrap();
    assert!(next > seqs[9]);
}

#[tokio::test]
async fn reading_holds_to_both_limits_but_always_gets_on() {
    let site = Site::new();
    let (outbox, _state) = site.open();
    for number in 0..20 {
        outbox.append(body(UpKind::Detections, number, 5000)).await.unwrap();
    }
    assert_eq!(outbox.read_after(0, 7, usize::MAX).await.unwrap().len(), 7);
    assert_eq!(outbox.read_after(0, 7, 1).await.unwrap().len(), 1);
    let some = outbox.read_after(0, 100, 12_000).await.unwrap();
    assert_eq!(some.len(), 2);
    assert_eq!(outbox.read_after(some[1].seq, 100, usize::MAX).await.unwrap().len(), 18);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_takes_no_number() {
    let site = Site::new();
    let (outbox, _state) = site.open();
    let first = outbox.append(body(UpKind::Alerts, 0, 10)).await.unwrap();
    let refused = outbox.append(body(UpKind::Alerts, 1, 61 * 1024)).await.unwrap_err();
    assert!(matches!(refused, OutboxError::TooLarge { kind: "alerts", .. }), "{refused}");
    assert_eq!(outbox.append(body(UpKind::Alerts, 2, 10)).await.unwrap(), first + 1);
}

#[tokio::test]
async fn an_acknowledgement_of_what_was_never_kept_is_refused() {
    let site = Site::new();
    let (outbox, _state) = site.open();
    let seq = outbox.append(body(UpKind::Health, 0, 10)).await.unwrap();
    assert!(matches!(outbox.acknowledge(seq + 1).await, Err(OutboxError::NotKept { .. })));
    assert_eq!(outbox.health().entries, 1);
}

#[tokio::test]
async fn appends_made_together_share_a_sync() {
    let site = Site::new();
    let (outbox, _state) = site.open();
    let started = std::time::Instant::now();
    let bodies = (0..640).map(|number| body(UpKind::Detections, number, 200)).collect();
    let kept = outbox.append_all(bodies).await;
    assert!(kept.iter().all(Result::is_ok));
    // One sync each would be 640; at 25 ms a group alone that is 16 s.
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(outbox.health().entries, 640);
}

#[tokio::test]
async fn a_second_opener_is_refused_while_the_first_lives() {
    let site = Site::new();
    let (_outbox, state) = site.open();
    let outbox_again = tokio::task::spawn_blocking({
        let settings = site.settings();
        move || Outbox::open(settings, site::edge(), &state).map(|_| ())
    });
    let dir = site.state_dir();
    let state_again = tokio::task::spawn_blocking(move || State::open(dir).map(|_| ()));
    assert!(matches!(outbox_again.await.unwrap(), Err(OutboxError::InUse { .. })));
    assert!(matches!(state_again.await.unwrap(), Err(StateError::InUse { .. })));
}
