//! One entry and its canonical form.

use std::fmt;
use std::str::FromStr;

use aivms_contract::id::TenantId;
use aivms_contract::time::UtcMillis;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// SHA-256 of an entry's canonical form.
pub type Hash = [u8; 32];

/// What stands as the predecessor's hash in the first entry of a chain.
pub const NOTHING_BEFORE: Hash = [0; 32];
/// Most characters of each text of an entry; longer ones are cut.
pub const MAX_TEXT_CHARS: usize = 200;
/// Most bytes of an entry's detail; a larger one is replaced by a note that says so.
pub const MAX_DETAIL_BYTES: usize = 4096;

/// Name and version of the canonical form.
const FORM: &str = "aivms-audit-1";

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// By what it is known: address of a person, id of a key, an edge or an operator; empty for links and the system.
    pub id: String,
    /// What people call it.
    pub name: String,
}

/// What an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorKind {
    /// A person.
    User,
    /// A program with an API key.
    ApiKey,
    /// An appliance.
    Edge,
    /// An MQTT tool.
    Operator,
    /// Whoever has a link.
    Link,
    /// The cloud itself.
    System,
}

/// Says that a text names no kind of actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be user, api_key, edge, operator, link or system, is {0:?}")]
pub struct UnknownActorKind(String);

/// One entry of a tenant's chain.
///
/// `action` is a text and not an [`super::Action`]: an entry that a newer program wrote must verify too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the chain: 1, 2, 3 and so on.
    pub seq: u64,
    /// Whose chain it is.
    pub tenant: TenantId,
    /// When it was done.
    pub at: UtcMillis,
    /// Who did it.
    pub actor: Actor,
    /// The network address it came from, if there was one.
    pub address: Option<String>,
    /// What was done, see [`super::Action`].
    pub action: String,
    /// What it was done to: an id, or `<edge>/<camera>`.
    pub subject: Option<String>,
    /// More about it: a JSON object as text, never with secrets.
    pub detail: String,
}

impl Actor {
    /// The cloud itself.
    #[must_use]
    pub fn system() -> Self {
        Self { kind: ActorKind::System, id: String::new(), name: "AIVMS".into() }
    }

    /// Whoever has a link to a file, or one of a mail.
    #[must_use]
    pub fn link() -> Self {
        Self { kind: ActorKind::Link, id: String::new(), name: "whoever has the link".into() }
    }
}

impl ActorKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::User, Self::ApiKey, Self::Edge, Self::Operator, Self::Link, Self::System];

    /// The name in the chain, in the API and in exports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "api_key",
            Self::Edge => "edge",
            Self::Operator => "operator",
            Self::Link => "link",
            Self::System => "system",
        }
    }
}

impl fmt::Display for ActorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ActorKind {
    type Err = UnknownActorKind;
    fn from_str(text: &str) -> Result<Self, UnknownActorKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownActorKind(text.to_owned()))
    }
}

impl Entry {
    /// Brings what callers say into the bounds of an entry: texts are cut, a detail that is too large is replaced, and
    /// characters no database keeps are replaced.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.actor.id = text(&self.actor.id);
        self.actor.name = text(&self.actor.name);
        self.address = self.address.as_deref().map(text);
        self.subject = self.subject.as_deref().map(text);
        self
    }

    /// The text of a detail: its members in the order of their names, so that equal details have equal texts.
    #[must_use]
    pub fn detail_text(detail: &Map<String, Value>) -> String {
        // JSON writes NUL as an escape, so none of its characters is one that a database can't keep.
        let sorted: std::collections::BTreeMap<_, _> = detail.iter().collect();
        match serde_json::to_string(&sorted) {
            Ok(text) if text.len() <= MAX_DETAIL_BYTES => text,
            _ => r#"{"note":"the detail was too large"}"#.to_owned(),
        }
    }

    /// The bytes that are hashed: a JSON array without spaces, of form, seq, tenant, milliseconds since 1970, kind, id
    /// and name of the actor, address, action, subject, the text of the detail and the predecessor's hash in
    /// hexadecimal. Python's `json.dumps(…, ensure_ascii=False, separators=(",", ":"))` writes the same.
    #[must_use]
    pub fn canonical(&self, previous: &Hash) -> Vec<u8> {
        let fields = serde_json::json!([
            FORM,
            self.seq,
            self.tenant.as_str(),
            self.at.as_millis(),
            self.actor.kind.as_str(),
            self.actor.id,
            self.actor.name,
            self.address,
            self.action,
            self.subject,
            self.detail,
            hex::encode(previous),
        ]);
        fields.to_string().into_bytes()
    }

    /// The entry's hash, after the predecessor's.
    #[must_use]
    pub fn hash(&self, previous: &Hash) -> Hash {
        Sha256::digest(self.canonical(previous)).into()
    }
}

fn text(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
