//! A foreign id is answered as one that never existed, whatever is asked with it and whoever asks.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::cloud::Cloud;
use crate::document::{Operation, operations};
use crate::doors::Feed;
use crate::party::{Caller, Party, ROLES, Seen};
use crate::recipes::{self, Body, Call};
use crate::stock::{deliver_one_of_each, two_tenants};

/// Ids tried of each name: the one that lasts and the newest, which may have been used up already.
const TRIED: usize = 2;
/// Members of bodies that name a thing and do not end as ids do, and what they name.
const NAMES_BESIDE_IDS: [(&str, &str); 6] = [
    ("id", "id"),
    ("outbox", "outbox"),
    ("edge", "edge_id"),
    ("edges", "edge_id"),
    ("zones", "zone_id"),
    ("targets", "channel_id"),
];
/// Members whose value differs from one answer to the next.
const PASSING: [&str; 8] =
    ["url", "url_expires_at", "last_seen", "last_used_at", "expires_at", "attempts", "next_attempt_at", "last_error"];
/// Lists to which looking itself adds.
const GROWS_BY_LOOKING: [&str; 3] = ["list_audit", "verify_audit", "export_audit"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_shows_changes_or_hints_at_anything_of_another_tenant() {
    let cloud = Cloud::start().await;
    let operations = operations(&cloud).await;
    let [acme, rival] = two_tenants(&cloud, &operations).await;
    let feed = Feed::open(&rival).await;
    let before = everything_seen(&acme, &operations).await;
    assert_nothing_of(&acme, &rival, &everything_seen(&rival, &operations).await, true);
    assert_nothing_of(&rival, &acme, &before, true);

    let mut attack = Attack { acme: &acme, rival: &rival, pairs: 0, leaks: Vec::new() };
    for operation in &operations {
        attack.parameters(operation).await;
    }
    for operation in &operations {
        attack.body(operation).await;
    }
    assert!(attack.leaks.is_empty(), "{} leaks:\n{}", attack.leaks.len(), attack.leaks.join("\n"));
    assert!(attack.pairs > operations.len() * 8, "only {} pairs of requests were compared", attack.pairs);

    let after = everything_seen(&acme, &operations).await;
    for (id, seen) in &before {
        assert_eq!(steady(&seen.json()), steady(&after[id].json()), "{id}: a foreign request changed what it shows");
    }
    // Ids that the rival itself has sent are in its own things now; texts it never knew are not.
    assert_nothing_of(&acme, &rival, &everything_seen(&rival, &operations).await, false);
    deliver_one_of_each(&acme).await;
    let heard = feed.close(&rival).await;
    assert!(!heard.contains(&acme.marker), "the live feed tells of another tenant: {heard}");
}

struct Attack<'a, 'c> {
    acme: &'a Party<'c>,
    rival: &'a Party<'c>,
    pairs: usize,
    leaks: Vec<String>,
}

impl Attack<'_, '_> {
    /// Puts foreign ids into the parameters of an operation: one at a time, then all at once.
    async fn parameters(&mut self, operation: &Operation) {
        let names: Vec<_> = operation.named().map(|(name, place)| (name.to_owned(), place.to_owned())).collect();
        for (name, place) in &names {
            let thing = if place == "header" { format!("{name} {}", operation.id) } else { name.clone() };
            for (number, foreign) in self.foreign(&thing).into_iter().enumerate() {
                let never = never_existed(&foreign);
                for caller in callers(operation, number == 0) {
                    let put = |call: Call, id: &str| with_parameter(call, place, name, id);
                    self.compare(operation, caller, &put, &foreign, &never).await;
                }
            }
        }
        let in_path: Vec<_> = names.iter().filter(|(_, place)| place == "path").map(|(name, _)| name).collect();
        if in_path.len() > 1 {
            let acme = self.acme;
            let put = |call: Call, id: &str| {
                in_path.iter().fold(call, |call, name| {
                    let thing = acme.thing(name);
                    let never = never_existed(&thing);
                    call.path(name, if id == "foreign" { thing } else { never })
                })
            };
            for caller in callers(operation, true) {
                self.compare(operation, caller, &put, "foreign", "never").await;
            }
        }
    }

    /// Puts foreign ids into the members of an operation's body.
    async fn body(&mut self, operation: &Operation) {
        let Body::Json(body) = recipes::call(self.rival, operation).await.body else { return };
        let mut names = operation.named_in_body.clone();
        let others = NAMES_BESIDE_IDS.map(|(name, _)| name.to_owned());
        names.extend(others.into_iter().filter(|name| has_member(&body, name)));
        for name in names {
            let of = NAMES_BESIDE_IDS.iter().find(|(known, _)| *known == name).map_or(name.as_str(), |(_, of)| of);
            for foreign in self.foreign(of) {
                let never = never_existed(&foreign);
                let put = |mut call: Call, id: &str| {
                    if let Body::Json(body) = &mut call.body
                        && !put_member(body, &name, id)
                    {
                        body[&name] = id.into();
                    }
                    call
                };
                for caller in callers(operation, false) {
                    self.compare(operation, caller, &put, &foreign, &never).await;
                }
            }
        }
    }

    /// Ids of the other tenant that this one has not.
    fn foreign(&self, name: &str) -> Vec<String> {
        let own = self.rival.things(name);
        let mut ids: Vec<_> = self.acme.things(name).into_iter().filter(|id| !own.contains(id)).collect();
        let newest = ids.split_off(ids.len().min(1));
        ids.extend(newest.into_iter().rev().take(TRIED - 1));
        ids
    }

    async fn compare(
        &mut self,
        operation: &Operation,
        caller: Caller,
        put: &impl Fn(Call, &str) -> Call,
        foreign: &str,
        never: &str,
    ) {
        let mut answers = Vec::new();
        for id in [foreign, never] {
            let call = put(recipes::call(self.rival, operation).await, id);
            answers.push(self.rival.send(caller, operation, &call).await);
        }
        self.pairs += 1;
        let [of_foreign, of_never] = [&answers[0], &answers[1]].map(|seen| comparable(seen, foreign, never));
        let marker = self.acme.marker.as_str();
        let tells =
            answers[0].whole().replace(&foreign.to_lowercase(), "").contains(marker) && !foreign.contains(marker);
        if of_foreign != of_never || tells {
            self.leaks.push(format!(
                "{} as {caller:?}: {foreign} of another tenant\n    {of_foreign}\n  is not answered as {never}, which never existed\n    {of_never}",
                operation.id
            ));
        }
    }
}

/// Who tries: everybody who has a token of the kind the operation takes, and those who have none that is good.
fn callers(operation: &Operation, strangers: bool) -> Vec<Caller> {
    let mut callers = match Party::caller(operation) {
        Caller::Nobody => return vec![Caller::Nobody],
        Caller::Edge => vec![Caller::Edge],
        _ => ROLES.map(Caller::Person).to_vec(),
    };
    if strangers {
        callers.extend([Caller::Nobody, Caller::Ended, Caller::Forged]);
    }
    callers
}

fn with_parameter(mut call: Call, place: &str, name: &str, id: &str) -> Call {
    match place {
        "path" => call.path(name, id),
        "query" => {
            call.query.retain(|(known, _)| known != name);
            call.query(name, id)
        }
        "header" => {
            call.headers.retain(|(known, _)| known != name);
            call.headers.push((name.to_owned(), id.to_owned()));
            call
        }
        other => panic!("a parameter in {other}"),
    }
}

fn has_member(value: &Value, name: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| has_member(item, name)),
        Value::Object(members) => members.iter().any(|(known, value)| known == name || has_member(value, name)),
        _ => false,
    }
}

/// Puts `id` wherever a member has this name; false when there is none.
fn put_member(value: &mut Value, name: &str, id: &str) -> bool {
    let mut found = false;
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| found |= put_member(item, name, id)),
        Value::Object(members) => {
            for (known, value) in members {
                if known == name {
                    *value = if value.is_array() { vec![id].into() } else { id.into() };
                    found = true;
                } else {
                    found |= put_member(value, name, id);
                }
            }
        }
        _ => {}
    }
    found
}

/// An id of the same form that nobody ever had: digits are characters of every form of id.
fn never_existed(id: &str) -> String {
    let mut characters: Vec<char> = id.chars().collect();
    let places = (0..characters.len()).rev().filter(|place| characters[*place].is_ascii_alphanumeric());
    for place in places.take(6).collect::<Vec<_>>() {
        characters[place] = char::from_digit((characters[place] as u32 + 5) % 10, 10).unwrap();
    }
    let never: String = characters.into_iter().collect();
    assert_ne!(never, id);
    never
}

/// What must be the same: for a refusal everything, for a success its form.
fn comparable(seen: &Seen, foreign: &str, never: &str) -> String {
    let text = seen.text.replace(foreign, "ID").replace(never, "ID");
    let is_success = seen.status < 300;
    let text = match serde_json::from_str::<Value>(&text) {
        Ok(value) if is_success => form(&value).to_string(),
        _ => text,
    };
    format!("{} {} {text}", seen.status, headers(&seen.headers, foreign, never, is_success))
}

fn headers(headers: &HeaderMap, foreign: &str, never: &str, only_names: bool) -> String {
    let shown = headers.iter().filter(|(name, _)| !matches!(name.as_str(), "date" | "content-length" | "retry-after"));
    let shown = shown.map(|(name, value)| {
        let value = value.to_str().unwrap_or_default().replace(foreign, "ID").replace(never, "ID");
        (name.as_str(), if only_names { String::new() } else { value })
    });
    format!("{:?}", shown.collect::<BTreeMap<_, _>>())
}

/// A value without its texts and numbers: lengths of lists and names of members remain.
fn form(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(form).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), form(value))).collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => 0.into(),
        other => other.clone(),
    }
}

fn steady(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(steady).collect(),
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !PASSING.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), steady(value))).collect()
        }
        other => other.clone(),
    }
}

/// Whatever a tenant can see of its own.
async fn everything_seen(party: &Party<'_>, operations: &[Operation]) -> BTreeMap<String, Seen> {
    let mut everything = BTreeMap::new();
    let reading = operations.iter().filter(|o| o.reads() && !GROWS_BY_LOOKING.contains(&&*o.id));
    for operation in reading {
        let call = recipes::call(party, operation).await;
        let seen = party.send(Party::caller(operation), operation, &call).await;
        assert!(call.is_success(seen.status), "{}: {} {}", operation.id, seen.status, seen.text);
        everything.insert(operation.id.clone(), seen);
    }
    everything
}

fn assert_nothing_of(other: &Party<'_>, party: &Party<'_>, seen: &BTreeMap<String, Seen>, with_ids: bool) {
    let ids = other.ids_of_its_own(party);
    assert!(ids.len() > 30, "only {} ids of {} were collected", ids.len(), other.marker);
    for (operation, seen) in seen {
        let whole = seen.whole();
        let tells = |id: &&String| with_ids && whole.contains(&id.to_lowercase());
        let found = ids.iter().find(tells);
        assert!(found.is_none(), "{operation} shows {} the id {found:?} of {}", party.marker, other.marker);
        if with_ids {
            assert!(!whole.contains(&other.marker), "{operation} shows {} something of {}", party.marker, other.marker);
        }
    }
    let shows_its_own = seen.values().filter(|seen| seen.whole().contains(&party.marker)).count();
    assert!(shows_its_own >= 5, "only {shows_its_own} answers show the tenant anything of its own");
}
