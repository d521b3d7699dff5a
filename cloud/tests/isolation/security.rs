//! What `docs/ref/security.md` says that holds an item does exist.

use std::collections::BTreeSet;
use std::path::Path;

const TABLE: &str = include_str!("../../../docs/ref/security.md");
/// Folders with tests.
const FOLDERS: [&str; 5] = ["appliance", "bindings", "cloud", "tests", "verify"];

#[test]
fn every_test_that_the_security_table_names_exists_and_every_item_has_one_or_a_reason() {
    let mut known = BTreeSet::new();
    for folder in FOLDERS {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder), &mut known);
    }
    assert!(known.len() > 500, "only {} tests were found", known.len());
    let rows: Vec<Vec<&str>> = TABLE
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=25).collect::<Vec<_>>());
    for row in rows {
        let names: Vec<_> = row[2].split('`').skip(1).step_by(2).collect();
        for name in &names {
            assert!(known.contains(*name), "item {}: there is no test {name} any more", row[0]);
        }
        let has_reason = row.get(3).is_some_and(|reason| reason.len() > 20);
        assert!(!names.is_empty() || has_reason, "item {} has neither a test nor a reason", row[0]);
    }
}

/// The names of functions that stand behind an attribute of a test, or are listed for a suite.
fn collect(folder: &Path, known: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, known);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = path.components().any(|part| part.as_os_str() == "suite") || text.contains("proptest!");
            let of_a_suite = is_test;
            for line in text.lines().map(str::trim) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test)
                    && let Some((name, _)) = rest.split_once('(')
                {
                    known.insert(name.to_owned());
                    is_test = of_a_suite;
                }
            }
        }
    }
}
