//! What is secret is shown once, to whom it is for, and stands nowhere else: in no other answer, no log, no database.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::cloud::{Cloud, PASSWORD};
use crate::document::operations;
use crate::party::{Caller, Party, ROLES};
use crate::recipes;
use crate::stock::one_tenant;

/// Members of answers that hold something secret, which is shown there and nowhere else.
const SHOWN_ONCE: [&str; 10] = [
    "token",
    "edge_secret",
    "private_key_pem",
    "ticket",
    "secret",
    "refresh_token",
    "api_key",
    "key",
    "codes",
    "recovery_codes",
];

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_shown_twice_logged_or_kept_in_the_clear() {
    let log = Log::default();
    let writer = log.clone();
    // More than any operator would switch on.
    let everything = EnvFilter::new("debug,aivms_cloud=trace,aivms_cloud_core=trace,poem=trace");
    tracing_subscriber::fmt().with_env_filter(everything).with_writer(move || writer.clone()).init();
    let cloud = Cloud::start().await;
    let operations = operations(&cloud).await;
    let party = one_tenant(&cloud, "acme", &operations).await;
    let data = cloud.dir.path().join("cloud.db.d");
    let (jwt_secret, ca_key) = (data.join("jwt-secret"), data.join("ca-key.pem"));
    let (jwt_secret, ca_key) = (std::fs::read_to_string(jwt_secret).unwrap(), std::fs::read_to_string(ca_key).unwrap());
    let always = [PASSWORD.to_owned(), jwt_secret.trim().to_owned(), longest_line(&ca_key)];
    let mut once: BTreeSet<String> = ROLES.iter().filter_map(|role| party.token(Caller::Person(role))).collect();
    once.insert(party.device.token());
    let mut answers = Vec::new();
    for operation in &operations {
        let call = recipes::call(&party, operation).await;
        let seen = party.send(Party::caller(operation), operation, &call).await;
        if operation.reads() {
            answers.push((operation.id.clone(), seen.whole()));
        } else if operation.id != "invite_person" {
            // An invitation stands in the mail that waits to be sent, which is a row of the database.
            collect(&seen.json(), &mut once);
        }
    }
    assert!(once.len() > 8, "only {} secrets were shown", once.len());
    for (operation, answer) in &answers {
        for secret in always.iter().chain(&once) {
            assert!(!answer.contains(&secret.to_lowercase()), "{operation} shows the secret {secret}");
        }
        assert!(!answer.contains("$argon2"), "{operation} shows a hash of a password");
    }
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("edge registered") && log.contains("POST"), "the log was caught: {log}");
    let mut kept = std::fs::read(cloud.database()).unwrap();
    kept.extend(std::fs::read(cloud.dir.path().join("cloud.db-wal")).unwrap_or_default());
    for secret in always.iter().chain(&once) {
        assert!(!log.contains(secret.as_str()), "the log holds {secret}");
        let is_kept = kept.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!is_kept, "the database holds {secret} in the clear");
    }
}

fn collect(value: &Value, secrets: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, secrets)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if SHOWN_ONCE.contains(&name.as_str()) => {
                        secrets.insert(if text.contains('\n') { longest_line(text) } else { text.clone() });
                    }
                    Value::Array(items) if SHOWN_ONCE.contains(&name.as_str()) => {
                        secrets.extend(items.iter().filter_map(|item| item.as_str().map(str::to_owned)));
                    }
                    other => collect(other, secrets),
                }
            }
        }
        _ => {}
    }
}

/// A line of a PEM text that only this one has.
fn longest_line(pem: &str) -> String {
    pem.lines().max_by_key(|line| line.len()).unwrap().to_owned()
}
