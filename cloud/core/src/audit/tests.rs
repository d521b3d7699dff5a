use aivms_contract::time::UtcMillis;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn entry(seq: u64, text: &str) -> Entry {
    Entry {
        seq,
        tenant: "acme".parse().unwrap(),
        at: UtcMillis::from_millis(1_795_352_700_000 + i64::try_from(seq).unwrap()),
        actor: Actor { kind: ActorKind::User, id: "jane@acme.example".into(), name: text.into() },
        address: seq.is_multiple_of(2).then(|| "192.0.2.7".into()),
        action: Action::EdgeRevoked.as_str().into(),
        subject: Some(format!("edge_{seq}")),
        detail: r#"{"reason":"sold"}"#.into(),
    }
}

fn chain(texts: &[String]) -> Vec<Sealed> {
    let mut previous = NOTHING_BEFORE;
    (1..)
        .zip(texts)
        .map(|(seq, text)| {
            let entry = entry(seq, text);
            let hash = entry.hash(&previous);
            let sealed = Sealed { entry, previous, hash };
            previous = hash;
            sealed
        })
        .collect()
}

fn head(chain: &[Sealed]) -> Head {
    chain.last().map_or(Head { seq: 0, hash: NOTHING_BEFORE }, |last| Head { seq: last.entry.seq, hash: last.hash })
}

fn verify(rows: &[Sealed], head: Head, noted: Option<Head>) -> Report {
    let mut verifier = Verifier::new("acme".parse().unwrap(), head, noted);
    rows.iter().for_each(|row| verifier.take(row));
    verifier.finish()
}

fn names(rows: &[Sealed], head: Head) -> Vec<u64> {
    verify(rows, head, None).findings.iter().map(|finding| finding.seq).collect()
}

/// Every way to change one field of an entry.
fn edited(entry: &Entry, field: usize) -> Entry {
    let mut entry = entry.clone();
    match field {
        0 => entry.tenant = "rival".parse().unwrap(),
        1 => entry.at = UtcMillis::from_millis(entry.at.as_millis() + 1),
        2 => entry.actor.kind = ActorKind::System,
        3 => entry.actor.id.push('x'),
        4 => entry.actor.name.push('x'),
        5 => entry.address = Some(format!("{}x", entry.address.unwrap_or_default())),
        6 => entry.action = Action::EdgeRegistered.as_str().into(),
        7 => entry.subject = None,
        _ => entry.detail.push(' '),
    }
    entry
}

/// Computes the hashes anew from `from` on, as somebody would who knows how.
fn relinked(mut rows: Vec<Sealed>, from: usize) -> Vec<Sealed> {
    let mut previous = from.checked_sub(1).map_or(NOTHING_BEFORE, |before| rows[before].hash);
    for (seq, row) in (1..).zip(&mut rows).skip(from) {
        row.entry.seq = seq;
        row.previous = previous;
        row.hash = row.entry.hash(&previous);
        previous = row.hash;
    }
    rows
}

proptest! {
    #[test]
    fn a_chain_as_written_has_no_flaw(texts in vec(".{0,20}", 0..12)) {
        let rows = chain(&texts);
        let report = verify(&rows, head(&rows), None);
        prop_assert_eq!(report.findings, []);
        prop_assert_eq!((report.entries, report.head), (rows.len() as u64, head(&rows)));
    }

    #[test]
    fn an_edited_entry_is_named(texts in vec(".{0,20}", 1..12), place: prop::sample::Index, field in 0usize..9) {
        let mut rows = chain(&texts);
        let (end, place) = (head(&rows), place.index(rows.len()));
        rows[place].entry = edited(&rows[place].entry, field);
        prop_assert!(names(&rows, end).contains(&rows[place].entry.seq));
        // Also when its own hash is made right: then its successor, or the head, no longer follows.
        let row = &mut rows[place];
        row.hash = row.entry.hash(&row.previous);
        prop_assert!(!names(&rows, end).is_empty());
    }

    #[test]
    fn a_removed_entry_is_named(texts in vec(".{0,20}", 1..12), place: prop::sample::Index) {
        let mut rows = chain(&texts);
        let (end, place) = (head(&rows), place.index(rows.len()));
        let removed = rows.remove(place).entry.seq;
        prop_assert!(names(&rows, end).contains(&removed));
        // Closing the gap by new numbers breaks all that follow.
        prop_assert!(!names(&relinked(rows, place), end).is_empty());
    }

    #[test]
    fn swapped_entries_are_named(texts in vec(".{0,20}", 2..12), one: prop::sample::Index, other: prop::sample::Index) {
        let mut rows = chain(&texts);
        let end = head(&rows);
        let (one, other) = (one.index(rows.len()), other.index(rows.len()));
        prop_assume!(one != other);
        let (first, second) = (rows[one].entry.clone(), rows[other].entry.clone());
        rows[one].entry = Entry { seq: first.seq, ..second.clone() };
        rows[other].entry = Entry { seq: second.seq, ..first.clone() };
        let named = names(&rows, end);
        prop_assert!(named.contains(&first.seq) && named.contains(&second.seq), "{:?}", named);
        prop_assert!(!names(&relinked(rows, one.min(other)), end).is_empty());
    }

    #[test]
    fn an_inserted_entry_is_named(texts in vec(".{0,20}", 0..12), place: prop::sample::Index, text in ".{0,20}") {
        let rows = chain(&texts);
        let (end, place) = (head(&rows), place.index(rows.len() + 1));
        let mut longer = rows.clone();
        let seq = place as u64 + 1;
        let previous = place.checked_sub(1).map_or(NOTHING_BEFORE, |before| rows[before].hash);
        let inserted = entry(seq, &text);
        let hash = inserted.hash(&previous);
        longer.insert(place, Sealed { entry: inserted, previous, hash });
        prop_assert!(names(&longer, end).contains(&seq));
        prop_assert!(!names(&relinked(longer, place), end).is_empty());
    }

    #[test]
    fn a_chain_computed_anew_is_found_by_a_head_noted_before(
        texts in vec(".{0,20}", 1..12),
        place: prop::sample::Index,
        field in 1usize..9,
    ) {
        let rows = chain(&texts);
        let (noted, place) = (head(&rows), place.index(rows.len()));
        let mut forged = rows.clone();
        forged[place].entry = edited(&forged[place].entry, field);
        let forged = relinked(forged, place);
        prop_assert_eq!(verify(&forged, head(&forged), None).findings, []);
        let found = verify(&forged, head(&forged), Some(noted)).findings;
        prop_assert_eq!(found, [Finding { seq: noted.seq, flaw: Flaw::NotTheHead }]);
    }

    #[test]
    fn different_entries_have_different_forms(texts in vec(".{0,10}", 2..3), detail in ".{0,10}") {
        let (mut one, mut other) = (entry(1, &texts[0]), entry(1, &texts[1]));
        (one.detail, other.subject) = (detail.clone(), Some(detail));
        prop_assert_ne!(one.canonical(&NOTHING_BEFORE), other.canonical(&NOTHING_BEFORE));
    }
}

#[test]
fn the_canonical_form_never_changes() {
    let mut entry = entry(2, "J \"x\" ü\n\u{1}");
    entry.subject = None;
    let form = String::from_utf8(entry.canonical(&[0xab; 32])).unwrap();
    let expected = concat!(
        r#"["aivms-audit-1",2,"acme",1795352700002,"user","jane@acme.example","J \"x\" ü\n\u0001","192.0.2.7","#,
        r#""edge.revoked",null,"{\"reason\":\"sold\"}","abababababababababababababababababababababababababababababababab"]"#
    );
    assert_eq!(form, expected);
    let hash = hex::encode(entry.hash(&[0xab; 32]));
    assert_eq!(hash, "f548d07095c255fde24f370522a7ffcda86ce99b9187ebf1ed045da54f6a4ee7");
}

#[test]
fn names_of_actions_are_dotted_and_read_back() {
    let mut seen = std::collections::BTreeSet::new();
    for action in Action::ALL {
        let (noun, verb) = action.as_str().split_once('.').unwrap();
        let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(plain(noun) && plain(verb), "{action}");
        assert!(seen.insert(action.as_str()), "{action} twice");
        assert_eq!(action.as_str().parse(), Ok(*action));
    }
    assert!("user.flew".parse::<Action>().is_err());
    for kind in ActorKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
}

#[test]
fn equal_details_have_equal_texts_and_large_ones_leave_a_note() {
    let map = |value: Value| -> Map<String, Value> { value.as_object().unwrap().clone() };
    let mut other = Map::new();
    other.insert("z".into(), 1.into());
    other.insert("a".into(), 2.into());
    assert_eq!(Entry::detail_text(&map(json!({"a": 2, "z": 1}))), Entry::detail_text(&other));
    assert_eq!(Entry::detail_text(&other), r#"{"a":2,"z":1}"#);
    let large = Entry::detail_text(&map(json!({"a": "x".repeat(MAX_DETAIL_BYTES)})));
    assert!(large.contains("too large"), "{large}");
    let bounded = Entry { subject: Some("x\0".repeat(MAX_TEXT_CHARS)), ..entry(1, "") }.bounded();
    let subject = bounded.subject.unwrap();
    assert!(subject.chars().count() == MAX_TEXT_CHARS && !subject.contains('\0'));
}
