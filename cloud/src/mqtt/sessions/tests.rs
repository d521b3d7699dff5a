//! Seats: who replaces whom, and what is shared.

use super::*;

fn edge(id: &str) -> Identity {
    format!("urn:aivms:tenant:acme:edge:edge_{id}").parse().unwrap()
}

fn number(generation: u64) -> Connection {
    Connection { edge: None, generation }
}

fn operator() -> Identity {
    "urn:aivms:tenant:acme:operator:op".parse().unwrap()
}

#[tokio::test]
async fn the_newer_session_of_an_edge_stays_whatever_its_client_id() {
    let sessions = Sessions::default();
    let first = sessions.enter(&edge("a"), "one", [1; 32], number(1)).unwrap();
    let mut second = sessions.enter(&edge("a"), "two", [1; 32], number(2)).unwrap();
    assert_eq!(first.told_to_end().await, EndReason::TakenOver);
    assert!(second.generation > first.generation);
    assert_eq!((sessions.count(), sessions.take_overs()), (1, 1));
    drop(first);
    second.wait_for_previous().await;
    assert_eq!(sessions.count(), 1, "the older one leaves without the newer's entry");
    drop(second);
    assert_eq!(sessions.count(), 0);
}

#[tokio::test]
async fn who_replaces_a_session_that_gave_up_waits_for_the_one_before_it() {
    let sessions = Sessions::default();
    let enter = |generation| sessions.enter(&edge("a"), "", [1; 32], number(generation)).unwrap();
    let (first, second, mut third) = (enter(1), enter(2), enter(3));
    drop(second);
    let waiting = tokio::time::timeout(Duration::from_millis(50), third.wait_for_previous());
    assert!(waiting.await.is_err());
    drop(first);
    // The time-out above dropped a wait that must not be lost.
    let control = Arc::clone(&third.control);
    drop(third);
    tokio::time::timeout(Duration::from_secs(5), control.ended.cancelled()).await.unwrap();
}

#[test]
fn an_operator_has_several_sessions_with_their_own_places_up_to_a_limit() {
    let sessions = Sessions::default();
    let enter = |n: usize| sessions.enter(&operator(), &format!("client {n}"), [1; 32], number(1));
    let mut seats: Vec<_> = (0..OPERATOR_SESSIONS).map(|n| enter(n).unwrap()).collect();
    let mut ids: Vec<_> = seats.iter().map(Seat::router_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), OPERATOR_SESSIONS);
    assert_eq!(enter(99).unwrap_err(), NoSeat::TooMany);
    let freed = seats.remove(3).router_id();
    assert_eq!(enter(99).unwrap().router_id(), freed);
}

#[tokio::test]
async fn only_sessions_of_the_withdrawn_certificates_end() {
    let sessions = Sessions::default();
    let [a, b] = ["a", "b"].map(|id| sessions.enter(&edge(id), "", [id.as_bytes()[0]; 32], number(1)).unwrap());
    sessions.end(&[[b'a'; 32], [9; 32]]);
    assert_eq!(a.told_to_end().await, EndReason::Revoked);
    assert!(!b.control.end.is_cancelled());
}

#[test]
fn sessions_of_one_identity_share_what_it_may_send() {
    let sessions = Sessions::default();
    let [a, b] = ["1", "2"].map(|client| sessions.enter(&operator(), client, [1; 32], number(1)).unwrap());
    assert!(Arc::ptr_eq(&a.budget, &b.budget) && Arc::ptr_eq(&a.watchers, &b.watchers));
}

#[tokio::test]
async fn a_connection_that_was_made_before_the_one_that_is_here_is_not_entered() {
    let sessions = Sessions::default();
    let newer = sessions.enter(&edge("a"), "", [1; 32], number(7)).unwrap();
    assert_eq!(sessions.enter(&edge("a"), "", [1; 32], number(6)).unwrap_err(), NoSeat::NewerIsHere);
    assert!(!newer.is_told_to_end());
}

#[tokio::test]
async fn a_newer_connection_on_another_process_ends_only_the_older_session_of_that_edge() {
    let sessions = Sessions::default();
    let enter = |id, key, generation| {
        let connection = Connection { edge: Some(EdgeKey(key)), generation };
        sessions.enter(&edge(id), "", [1; 32], connection).unwrap()
    };
    let (a, b) = (enter("a", 1, 5), enter("b", 2, 6));
    sessions.end_older(EdgeKey(1), 5);
    assert!(!a.is_told_to_end(), "that is its own news");
    sessions.end_older(EdgeKey(1), 7);
    assert_eq!(a.told_to_end().await, EndReason::TakenOver);
    drop(a);
    sessions.end_older(EdgeKey(1), 9);
    assert!(!b.is_told_to_end());
    let mut shown = Vec::new();
    sessions.for_each_edge(|edge, generation| shown.push((edge, generation)));
    assert_eq!(shown, [(EdgeKey(2), 6)]);
}
