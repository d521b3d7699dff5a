//! Who may do what: `docs/ref/roles.md` is what a running cloud does, and every operation is in it.

use std::fmt::Write as _;
use std::path::Path;

use crate::cloud::Cloud;
use crate::document::operations;
use crate::party::{Caller, Party, ROLES};
use crate::recipes;
use crate::stock::one_tenant;

const HEAD: &str = "\
# Who may do what

Every operation of the API, in the order of the document's paths, and who may carry it out. `edge` is an appliance with
its token, `nobody` a caller without one. What a role may not is answered with 403, what a caller of another kind may
not with 401. People see and touch the things of their own tenant only: anything else is answered as if it did not
exist.

This table is measured: a test sends each operation's valid request as everybody and fails when an answer differs from
it. After a change of the API, look at the difference after
`UPDATE_ROLES=1 cargo nextest run -p aivms-cloud --test isolation what_each_role_may_do`.

";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_role_may_do_is_what_the_table_says() {
    let cloud = Cloud::start().await;
    let mut operations = operations(&cloud).await;
    let party = one_tenant(&cloud, "acme", &operations).await;
    operations.sort_by(|a, b| (&a.path, a.method.as_str()).cmp(&(&b.path, b.method.as_str())));
    let callers = ROLES.map(Caller::Person).into_iter().chain([Caller::Edge, Caller::Nobody]);
    let mut table = HEAD.to_owned();
    table.push_str(
        "| operation | | owner | admin | operator | viewer | edge | nobody |\n|---|---|---|---|---|---|---|---|\n",
    );
    for operation in &operations {
        let mut row = format!("| `{}` | {} `{}` ", operation.id, operation.method, operation.path);
        for caller in callers.clone() {
            let call = recipes::call(&party, operation).await;
            let seen = party.send(caller, operation, &call).await;
            let may = match seen.status {
                401 | 403 => false,
                status => {
                    assert!(call.is_success(status), "{} as {caller:?}: {status} {}", operation.id, seen.text);
                    true
                }
            };
            check(operation.schemes.is_empty(), &operation.id, caller, seen.status);
            row.push_str(if may { "| yes " } else { "| – " });
        }
        writeln!(table, "{row}|").unwrap();
    }
    compare(&table);
}

/// What no table may allow.
fn check(open: bool, operation: &str, caller: Caller, status: u16) {
    match caller {
        Caller::Person(_) => {}
        Caller::Nobody if !open => assert_eq!(status, 401, "{operation} without a token"),
        _ => assert_ne!(status, 403, "{operation} as {caller:?}: only a role is forbidden something"),
    }
}

fn compare(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ref/roles.md");
    if std::env::var_os("UPDATE_ROLES").is_some() {
        std::fs::write(&path, table).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let new: Vec<_> = table.lines().filter(|line| !kept.contains(*line)).collect();
    assert!(
        table == kept,
        "who may do what has changed: {new:#?}\nlook at the difference after\n    \
         UPDATE_ROLES=1 cargo nextest run -p aivms-cloud --test isolation what_each_role_may_do\n    \
         git diff docs/ref/roles.md"
    );
}

#[tokio::test]
async fn a_token_is_good_for_its_own_kind_of_operation_only() {
    let cloud = Cloud::start().await;
    let party = Party::new(&cloud, "acme").await;
    for operation in operations(&cloud).await {
        let wrong = match operation.schemes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => continue,
            ["EdgeToken"] => vec![Caller::Person("owner"), Caller::Ended, Caller::Forged, Caller::Nobody],
            _ => vec![Caller::Edge, Caller::Ended, Caller::Forged, Caller::Nobody],
        };
        let mut path = operation.path.clone();
        while let Some((head, tail)) = path.split_once('{') {
            path = format!("{head}x{}", tail.split_once('}').unwrap().1);
        }
        for caller in wrong {
            let mut request = cloud.request(operation.method.clone(), &path);
            if let Some(token) = party.token(caller) {
                request = request.bearer_auth(token);
            }
            let answer = crate::cloud::Answer::of(request).await;
            assert_eq!(answer.status, 401, "{} as {caller:?}: {answer:?}", operation.id);
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{} {answer:?}", operation.id);
        }
    }
}
