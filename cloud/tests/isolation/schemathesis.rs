//! A client that tries whatever the document allows, and much that it does not: no answer may be a defect of the cloud,
//! and none may be one that the document does not have. See `docs/ref/api.md` for the rules that follow from it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use aivms_cloud::api::OUTSIDE_THE_DOCUMENT;
use reqwest::Method;

use crate::cloud::Cloud;
use crate::document::{Operation, operations};
use crate::party::{Caller, Party};
use crate::stock::one_tenant;

/// The same requests in every run.
const SEED: &str = "20261122";
/// Requests that are made up by chance for each operation, beside those that its schema's borders give.
const BY_CHANCE: &str = "6";
/// Operations that end what all others are tried with, the session or the right of the person: somebody else calls them.
const ENDS_THE_SESSION: [&str; 8] = [
    "change_password",
    "change_person",
    "change_sign_in_settings",
    "end_session",
    "logout",
    "logout_everywhere",
    "remove_person",
    "reset_second_factor",
];

const CHECKS: &str = r#"
seed = 20261122
continue-on-failure = true
request-timeout = 60.0
workers = 2
warnings = false

# 422 is for rules between members, which a schema has no words for; each is documented and names its field.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]

[auth]
auto-signup = false

# Values come from the schema alone: what other answers showed would make each run another one.
[phases.coverage]
extra-data-sources = { responses = false }
[phases.fuzzing]
extra-data-sources = { responses = false }

# To an edge that sends a file 422 means that it was damaged on the way; whatever else is wrong with it is 400.
[[operations]]
include-operation-id = ["offer_media", "send_media"]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422", "429"]

# Browsers are sent on, whatever became of the sign-in.
[[operations]]
include-operation-id = ["start_provider_sign_in", "finish_provider_sign_in"]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "303", "404", "409", "429", "503"]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_the_document_allows_or_forbids_gets_an_answer_it_does_not_have() {
    let Some(program) = program() else { return };
    let cloud = Cloud::start().await;
    let operations = operations(&cloud).await;
    let party = one_tenant(&cloud, "acme", &operations).await;
    let other = Party::new(&cloud, "rival").await;
    let url = cloud.request(Method::GET, "/openapi.json").build().unwrap().url().to_string();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("schemathesis.toml"), settings(&party, &other, &operations)).unwrap();
    let mut command = Command::new(program);
    command.current_dir(directory.path()).args(["run", &url, "--no-color", "--output-truncate", "false"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--seed", SEED, "--max-examples", BY_CHANCE]);
    // A stream that does not end, and links that take whatever stands beside them.
    command.args(OUTSIDE_THE_DOCUMENT.iter().flat_map(|path| ["--exclude-path", path]));
    let run = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{}\n{}", last(&said, 60_000), String::from_utf8_lossy(&run.stderr));
    assert!(said.contains(&format!("Tested: {}", operations.len())), "{}", last(&said, 3_000));
    println!("{}", last(&said, 2_000));
}

/// The program; none where Python is too old for it, which is said.
fn program() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/servers/bin");
    assert!(folder.join("python").exists(), "{}: run `make setup`", folder.display());
    let program = folder.join("st");
    if !program.exists() {
        eprintln!("left out: schemathesis needs Python 3.11");
        return None;
    }
    Some(program)
}

/// Who calls what, and the things of the tenant that parameters are filled with half of the time.
fn settings(party: &Party<'_>, other: &Party<'_>, operations: &[Operation]) -> String {
    let mut text = CHECKS.to_owned();
    let mut names: Vec<_> = operations.iter().flat_map(|o| o.named().map(|(name, _)| name.to_owned())).collect();
    names.sort();
    names.dedup();
    for name in &names {
        // The first is the one that lasts, and the edge whose footage can be asked for.
        if let Some(thing) = party.things(name).first() {
            writeln!(text, "[dictionaries.{name}]\nvalues = [{thing:?}]").unwrap();
        }
    }
    text.push_str("[parameters]\n");
    for name in names.iter().filter(|name| !party.things(name).is_empty()) {
        writeln!(text, "{name:?} = {{ dictionary = {name:?}, probability = 0.5 }}").unwrap();
    }
    let ends = |operation: &&Operation| ENDS_THE_SESSION.contains(&operation.id.as_str());
    for (caller, scheme) in [(Caller::Person("owner"), "UserToken"), (Caller::Edge, "EdgeToken")] {
        let takes = |operation: &&Operation| operation.schemes.iter().any(|known| known == scheme);
        let (ending, lasting): (Vec<_>, Vec<_>) = operations.iter().filter(takes).partition(ends);
        for (operations, caller) in [(lasting, party.token(caller)), (ending, other.token(caller))] {
            let ids: Vec<_> = operations.iter().map(|operation| &operation.id).collect();
            if let Some(token) = caller.filter(|_| !ids.is_empty()) {
                writeln!(text, "[[operations]]\ninclude-operation-id = {ids:?}").unwrap();
                writeln!(text, "headers = {{ Authorization = \"Bearer {token}\" }}").unwrap();
            }
        }
    }
    text
}

fn last(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}
