//! A tenant in the tests: its people, its appliance, its things, and the strings that give it away.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::cloud::{Cloud, Owner, PASSWORD};
use crate::device::Device;
use crate::document::Operation;
use crate::recipes::{Body, Call};

/// The roles, from the one that may do everything down.
pub(crate) const ROLES: [&str; 4] = ["owner", "admin", "operator", "viewer"];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// A signed-in person with this role.
    Person(&'static str),
    /// The tenant's appliance.
    Edge,
    /// Nobody: no token at all.
    Nobody,
    /// A person whose token has ended.
    Ended,
    /// A person whose token was changed in one place.
    Forged,
}

/// An answer with every byte of it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

/// A tenant.
pub(crate) struct Party<'c> {
    pub cloud: &'c Cloud,
    /// Stands in every text and slug of the tenant that people or edges choose.
    pub marker: String,
    pub owner: Owner,
    pub device: Device,
    tokens: BTreeMap<&'static str, String>,
    /// Everything of the tenant that has a name, by the name of the parameter it is asked for by.
    things: Mutex<BTreeMap<String, Vec<String>>>,
    pub next: AtomicU64,
}

impl<'c> Party<'c> {
    /// Registers a tenant with an enrolled edge and a person of each role.
    pub(crate) async fn new(cloud: &'c Cloud, name: &str) -> Self {
        let marker = format!("mk7{name}");
        let owner = cloud.register(&marker).await;
        let device = Device::enrolled(cloud, &owner).await;
        let mut tokens = BTreeMap::from([("owner", owner.token.clone())]);
        for role in &ROLES[1..] {
            tokens.insert(role, person(cloud, &marker, role, role).await);
        }
        let party = Self { cloud, marker, owner, device, tokens, things: Mutex::default(), next: AtomicU64::new(1) };
        party.add("edge_id", &party.device.edge_id);
        party
    }

    /// A number never used before for this tenant.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes one more person with this role; its id and token.
    pub(crate) async fn another(&self, role: &str) -> (String, String) {
        let name = format!("{role}{}", self.number());
        let token = person(self.cloud, &self.marker, &name, role).await;
        (format!("user_{name}_{}", self.marker), token)
    }

    /// A slug that nobody else uses and that gives the tenant away.
    pub(crate) fn slug(&self, of: &str) -> String {
        format!("{of}-{}-{}", self.number(), self.marker)
    }

    pub(crate) fn add(&self, name: &str, thing: &str) {
        let mut things = self.things.lock().unwrap();
        let things = things.entry(name.to_owned()).or_default();
        if !thing.is_empty() && !things.iter().any(|known| known == thing) {
            things.push(thing.to_owned());
        }
    }

    /// The tenant's things that a parameter of this name can mean; the one that lasts first.
    pub(crate) fn things(&self, name: &str) -> Vec<String> {
        let things = self.things.lock().unwrap();
        let singular = name.strip_suffix('s').unwrap_or(name);
        let names = [name, singular].into_iter().chain(also(singular).iter().copied());
        let mut found: Vec<String> = names.filter_map(|name| things.get(name)).flatten().cloned().collect();
        found.dedup();
        found
    }

    /// The thing of this name that lasts through the test.
    pub(crate) fn thing(&self, name: &str) -> String {
        self.things(name).first().unwrap_or_else(|| panic!("{} has no {name}", self.marker)).clone()
    }

    /// Every id that this tenant has and `other` has not.
    pub(crate) fn ids_of_its_own(&self, other: &Self) -> Vec<String> {
        let theirs = other.things.lock().unwrap();
        let theirs: Vec<_> = theirs.values().flatten().collect();
        let ours = self.things.lock().unwrap();
        // A short text may stand in any answer by chance.
        ours.values().flatten().filter(|id| id.len() >= 12 && !theirs.contains(id)).cloned().collect()
    }

    /// Keeps every id that an answer shows, by the name of its member.
    pub(crate) fn harvest(&self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.harvest(item)),
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(id) if name.ends_with("_id") || ["id", "object_class"].contains(&&**name) => {
                            self.add(name, id);
                        }
                        other => self.harvest(other),
                    }
                }
            }
            _ => {}
        }
    }

    pub(crate) fn token(&self, caller: Caller) -> Option<String> {
        match caller {
            Caller::Person(role) => Some(self.tokens[role].clone()),
            Caller::Edge => Some(self.device.token()),
            Caller::Nobody => None,
            Caller::Ended => Some(ended(self.cloud, &self.owner.token)),
            Caller::Forged => Some(forged(&self.owner.token)),
        }
    }

    /// Who calls an operation as it is meant.
    pub(crate) fn caller(operation: &Operation) -> Caller {
        match operation.schemes.first().map(String::as_str) {
            None => Caller::Nobody,
            Some("UserToken") => Caller::Person("owner"),
            Some("EdgeToken") => Caller::Edge,
            Some(other) => {
                panic!("{}: add the security scheme {other} to cloud/tests/isolation/party.rs", operation.id)
            }
        }
    }

    /// Sends a request and reads all that comes.
    pub(crate) async fn send(&self, caller: Caller, operation: &Operation, call: &Call) -> Seen {
        let path = self.path(operation, call);
        let mut request = self.cloud.request(operation.method.clone(), &path);
        let token = match caller {
            _ if call.token.is_some() => call.token.clone(),
            Caller::Person(role) if call.by_another => Some(self.another(role).await.1),
            caller => self.token(caller),
        };
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        request = match &call.body {
            Body::None => request,
            Body::Json(value) => request.json(value),
            Body::Bytes(kind, bytes) => request.header("content-type", *kind).body(bytes.clone()),
        };
        Seen::of(request).await
    }

    fn path(&self, operation: &Operation, call: &Call) -> String {
        let names = operation.parameters.iter().filter(|(_, place)| place == "path").map(|(name, _)| name);
        let path = names.fold(operation.path.clone(), |path, name| {
            let value = call.path.get(name).cloned().unwrap_or_else(|| self.thing(name));
            path.replace(&format!("{{{name}}}"), &value)
        });
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&call.query).finish();
        format!("{path}?{query}").trim_end_matches('?').to_owned()
    }
}

impl Seen {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, mut headers) = (response.status().as_u16(), response.headers().clone());
        let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
        // The name of the request is another one each time.
        let text = match headers.remove("x-request-id") {
            Some(request_id) => text.replace(request_id.to_str().unwrap(), ""),
            None => text,
        };
        Self { status, headers, text }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Everything of it in which something could stand.
    pub(crate) fn whole(&self) -> String {
        format!("{:?}\n{}", self.headers, self.text).to_lowercase()
    }
}

/// Where a WebSocket is opened.
pub(crate) fn socket_url(cloud: &Cloud, path: &str) -> String {
    cloud.request(reqwest::Method::GET, path).build().unwrap().url().as_str().replacen("http", "ws", 1)
}

/// Further names of the ids that a parameter can be.
fn also(name: &str) -> &'static [&'static str] {
    match name {
        "event_id" => &["id"],
        "media_id" => &["clip_id", "snapshot_id"],
        _ => &[],
    }
}

/// Makes a person of the tenant with `role` and the owner's password, and signs in.
async fn person(cloud: &Cloud, marker: &str, name: &str, role: &str) -> String {
    cloud.sql(&format!(
        "insert into users (tenant, user_id, email, name, role, password_hash, created_at)
         select tenant, 'user_{name}_{marker}', '{name}@{marker}.example', '{name} {marker}', '{role}', password_hash, created_at
         from users where email = 'owner@{marker}.example'"
    ));
    let body = serde_json::json!({ "email": format!("{name}@{marker}.example"), "password": PASSWORD });
    cloud.post("/api/auth/login", body).await.text("token")
}

/// The token as it would be an hour after its end, signed with the cloud's own secret.
fn ended(cloud: &Cloud, token: &str) -> String {
    let mut claims = claims(token);
    claims["exp"] = (claims["exp"].as_i64().unwrap() - 2 * 3_600).into();
    let secret = std::fs::read_to_string(cloud.dir.path().join("cloud.db.d/jwt-secret")).unwrap();
    let key = jsonwebtoken::EncodingKey::from_secret(secret.trim().as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::decode_header(token).unwrap(), &claims, &key).unwrap()
}

/// What a token says.
pub(crate) fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn forged(token: &str) -> String {
    let (head, last) = token.split_at(token.len() - 2);
    let other = if last.starts_with('A') { 'B' } else { 'A' };
    format!("{head}{other}{}", &last[1..])
}
