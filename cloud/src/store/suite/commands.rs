//! The life of commands.

use aivms_cloud_core::command::{self, CommandState, Deadlines, Unchanged};
use aivms_contract::command::{Command, CommandResult, Outcome};
use aivms_contract::id::{CommandId, EdgeId};
use aivms_contract::time::UtcMillis;
use serde_json::{Map, Value, json};

use super::super::{
    AnswerFate, Cancelled, CommandFilter, EdgeKey, MAX_OPEN, NewCommand, News, SharedStore, StoreError, StoredCommand,
    User,
};
use super::{Open, at, edge, tenant};

fn new_command(owner: &User, name: &str, payload: &Value, now: UtcMillis) -> NewCommand {
    let payload = payload.as_object().unwrap().clone();
    let id = CommandId::from_parts(now, fastrand::u128(..));
    let mut command = Command { id, issued_at: now, expires_at: now, command: name.to_owned(), payload };
    let action = command.action().unwrap();
    let deadlines = Deadlines::of(&action, now, None);
    command.expires_at = deadlines.expires_at;
    NewCommand { command, camera: command::camera(&action).cloned(), deadlines, by: owner.key }
}

async fn ask(store: &SharedStore, owner: &User, edge: &EdgeId, camera: &str, now: UtcMillis) -> StoredCommand {
    let new = new_command(owner, "restart_detection", &json!({ "camera_id": camera }), now);
    store.create_command(owner.tenant, edge, new).await.unwrap()
}

fn answer(id: &CommandId, outcome: Outcome, now: UtcMillis) -> CommandResult {
    let data = Map::from_iter([("n".to_owned(), 1.into())]);
    CommandResult { id: id.clone(), at: now, outcome, reason: Some("be\0cause".into()), data }
}

async fn told(store: &SharedStore, edge: EdgeKey, now: UtcMillis) -> Vec<CommandId> {
    store.take_orders(edge, now).await.unwrap().into_iter().map(|command| command.id).collect()
}

pub(crate) async fn a_command_is_told_in_order_and_again_until_it_is_answered(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let mut news = store.news();
    let first = ask(&store, &owner, &edge.edge_id, "a", at(2)).await;
    assert_eq!(news.recv().await.unwrap(), News::Edge(edge.key));
    // Made later with an id that sorts before: the order of asking counts.
    let second = ask(&store, &owner, &edge.edge_id, "b", at(1)).await;
    assert_eq!((first.state, first.created_by.as_deref()), (CommandState::Queued, Some("Owner")));
    assert_eq!(store.edges_with_orders().await.unwrap(), [edge.key]);
    let both = [first.command.id.clone(), second.command.id.clone()];
    assert_eq!(told(&store, edge.key, at(10)).await, both);
    assert_eq!(told(&store, edge.key, at(20)).await, both, "until it is answered");
    let sent = store.command(owner.tenant, &edge.edge_id, &both[0]).await.unwrap().unwrap();
    assert_eq!((sent.state, sent.sent_at), (CommandState::Sent, Some(at(10))));
    assert_eq!(sent.command, first.command);

    let fate = store.record_answer(edge.key, answer(&both[0], Outcome::Succeeded, at(30)), at(31)).await.unwrap();
    assert_eq!(fate, AnswerFate::Recorded);
    assert_eq!(told(&store, edge.key, at(40)).await, both[1..]);
    let late = second.command.expires_at + std::time::Duration::from_secs(3600);
    assert!(told(&store, edge.key, late).await.is_empty());
    let mut heard = Vec::new();
    while let Ok(one) = news.try_recv() {
        heard.push(one);
    }
    assert!(heard.contains(&News::Command(first.row)), "whoever waits for the answer hears of it: {heard:?}");
}

pub(crate) async fn an_answer_counts_once_and_only_from_the_edge_that_was_asked(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (asked, other) = (edge(&store, &owner, "edge_a").await, edge(&store, &owner, "edge_b").await);
    let foreign = edge(&store, &rival, "edge_c").await;
    let command = ask(&store, &owner, &asked.edge_id, "a", at(0)).await;
    let id = command.command.id;
    for edge in [other.key, foreign.key] {
        let fate = store.record_answer(edge, answer(&id, Outcome::Succeeded, at(1)), at(1)).await.unwrap();
        assert_eq!(fate, AnswerFate::Unknown);
    }
    // The process that told the edge may have died before it wrote that down.
    let fate = store.record_answer(asked.key, answer(&id, Outcome::Failed, at(9_999_999)), at(2)).await.unwrap();
    assert_eq!(fate, AnswerFate::Recorded);
    let fate = store.record_answer(asked.key, answer(&id, Outcome::Succeeded, at(3)), at(3)).await.unwrap();
    assert_eq!(fate, AnswerFate::Late);
    let ended = store.command(owner.tenant, &asked.edge_id, &id).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.ended_at), (CommandState::Failed, Some(at(2))), "its clock is not believed");
    assert_eq!(ended.reason.as_deref(), Some("be\u{fffd}cause"));
    assert_eq!(ended.data.unwrap()["n"], 1);
}

pub(crate) async fn a_command_nobody_answers_expires_and_what_was_not_told_can_be_taken_back(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let ask = async |camera: &str| ask(&store, &owner, &edge.edge_id, camera, at(0)).await.command;
    let cancel =
        async |command: &Command| store.cancel_command(owner.tenant, &edge.edge_id, &command.id, at(5)).await.unwrap();
    let state =
        async |command: &Command| store.command(owner.tenant, &edge.edge_id, &command.id).await.unwrap().unwrap().state;
    let taken_back = ask("a").await;
    let Cancelled::Done(cancelled) = cancel(&taken_back).await else { panic!("it was not told") };
    assert_eq!((cancelled.state, cancelled.ended_at), (CommandState::Cancelled, Some(at(5))));
    assert_eq!(cancel(&taken_back).await, Cancelled::Not(Unchanged::Ended(CommandState::Cancelled)));

    let sent = ask("b").await;
    assert_eq!(told(&store, edge.key, at(10)).await, std::slice::from_ref(&sent.id));
    assert_eq!(cancel(&sent).await, Cancelled::Not(Unchanged::Sent));
    let queued = ask("c").await;
    let expiry = queued.expires_at;
    assert_eq!(store.give_up_commands(at(100)).await.unwrap(), 0);
    assert!(told(&store, edge.key, expiry).await.iter().all(|id| *id != queued.id), "expired, it is not told");
    assert_eq!(store.give_up_commands(expiry).await.unwrap(), 1);
    assert_eq!((state(&queued).await, state(&sent).await), (CommandState::Expired, CommandState::Sent));
    let later = expiry + std::time::Duration::from_secs(3600);
    assert_eq!(store.give_up_commands(later).await.unwrap(), 1);
    assert_eq!(state(&sent).await, CommandState::Expired);
    let fate = store.record_answer(edge.key, answer(&sent.id, Outcome::Succeeded, later), later).await.unwrap();
    assert_eq!(fate, AnswerFate::Late);
}

pub(crate) async fn commands_of_others_are_as_if_they_did_not_exist(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let edge = edge(&store, &owner, "edge_a").await;
    let command = ask(&store, &owner, &edge.edge_id, "a", at(0)).await.command;
    let (edge_id, id) = (&edge.edge_id, &command.id);
    let not_found = |error: StoreError| assert!(matches!(error, StoreError::NotFound), "{error:?}");
    assert_eq!(store.command(rival.tenant, edge_id, id).await.unwrap(), None);
    not_found(store.cancel_command(rival.tenant, edge_id, id, at(1)).await.unwrap_err());
    not_found(store.list_commands(rival.tenant, edge_id, CommandFilter::default(), None, 9).await.unwrap_err());
    let new = new_command(&rival, "get_status", &json!({}), at(0));
    not_found(store.create_command(rival.tenant, edge_id, new).await.unwrap_err());
    store.revoke_edge(owner.tenant, edge_id, at(2)).await.unwrap();
    let new = new_command(&owner, "get_status", &json!({}), at(0));
    not_found(store.create_command(owner.tenant, edge_id, new).await.unwrap_err());
}

pub(crate) async fn pages_of_commands_joined_are_the_whole_list_and_filters_keep_to_it(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let mut made = Vec::new();
    for n in 0..7 {
        let camera = if n % 2 == 0 { "even" } else { "odd" };
        made.insert(0, ask(&store, &owner, &edge.edge_id, camera, at(n)).await.command.id);
    }
    let list = async |filter: CommandFilter, limit: u32| {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = store.list_commands(owner.tenant, &edge.edge_id, filter.clone(), before, limit).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            found.extend(page.items.iter().map(|command| command.command.id.clone()));
            before = found.last().cloned();
            if !page.more {
                return found;
            }
        }
    };
    assert_eq!(list(CommandFilter::default(), 3).await, made);
    let odd = CommandFilter { cameras: Some(vec!["odd".parse().unwrap()]), ..CommandFilter::default() };
    assert_eq!(list(odd, 2).await, [made[1].clone(), made[3].clone(), made[5].clone()]);
    let none = CommandFilter { cameras: Some(Vec::new()), ..CommandFilter::default() };
    assert!(list(none, 2).await.is_empty());
    let sent = CommandFilter { state: Some(CommandState::Sent), ..CommandFilter::default() };
    assert!(list(sent.clone(), 2).await.is_empty());
    store.take_orders(edge.key, at(10)).await.unwrap();
    assert_eq!(list(sent, 2).await, made);
    let clips = CommandFilter { command: Some("request_clip".into()), ..CommandFilter::default() };
    assert!(list(clips, 2).await.is_empty());
}

pub(crate) async fn an_edge_has_only_so_many_open_commands(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    for n in 0..MAX_OPEN {
        ask(&store, &owner, &edge.edge_id, "a", at(n.into())).await;
    }
    let new = || new_command(&owner, "get_status", &json!({}), at(0));
    let refused = store.create_command(owner.tenant, &edge.edge_id, new()).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooMany(_)), "{refused:?}");
    let first = told(&store, edge.key, at(1_000)).await.remove(0);
    store.record_answer(edge.key, answer(&first, Outcome::Rejected, at(1_001)), at(1_001)).await.unwrap();
    store.create_command(owner.tenant, &edge.edge_id, new()).await.unwrap();
}
