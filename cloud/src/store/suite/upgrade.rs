//! Databases of earlier versions, with rows in every table, are brought to the newest one without losing any.
//!
//! `upgrade/NN.sql` holds what a program of version NN wrote into the tables that came with it. A database of version n
//! has taken the steps 1 to n, and after each of them what was written then. Rows refer to each other by number: the
//! first row of a table is 1.

use std::collections::{BTreeMap, BTreeSet};

use aivms_contract::envelope::Body;
use aivms_contract::media::MediaKind;

use super::super::migrations::STEPS;
use super::super::{CountQuery, EventFilter, PLAN, PageRequest, SharedStore, User, UserRole};
use super::analytics::{count_ahead, span};
use super::{detection, edge, incoming};

/// What programs wrote, by the version. A version without new tables or columns has none.
const ROWS: &[(usize, &str)] = &[
    (1, include_str!("upgrade/01.sql")),
    (2, include_str!("upgrade/02.sql")),
    (3, include_str!("upgrade/03.sql")),
    (4, include_str!("upgrade/04.sql")),
    (5, include_str!("upgrade/05.sql")),
    (6, include_str!("upgrade/06.sql")),
    (7, include_str!("upgrade/07.sql")),
    (8, include_str!("upgrade/08.sql")),
    (9, include_str!("upgrade/09.sql")),
    (10, include_str!("upgrade/10.sql")),
    (11, include_str!("upgrade/11.sql")),
    (13, include_str!("upgrade/13.sql")),
    (14, include_str!("upgrade/14.sql")),
    (16, include_str!("upgrade/16.sql")),
];

/// The version with which counts of quarters went into rows of days; everything is counted anew then.
const COUNTS_BY_DAY: usize = 16;
/// Tables that went with it.
const GONE: [&str; 3] = ["quarter_cameras", "quarter_classes", "quarter_zones"];
/// Tables that a step fills by itself.
const REFILLED: [&str; 1] = ["quarter_backlogs"];

/// A database that is made step by step.
pub(crate) trait OldDatabase: Sized {
    /// The version with which it got its table of events.
    const EVENTS_SINCE: usize;

    /// One without any table.
    async fn empty() -> Self;

    /// Takes the step to `version`, then writes `rows`.
    async fn step(&mut self, version: usize, rows: &str);

    /// Opens it as the program does.
    async fn open(&self) -> SharedStore;

    /// Every table with its columns, index and constraint, as texts.
    async fn schema(&self) -> Vec<String>;

    /// The number of rows of each table, but for those with the version itself.
    async fn counts(&self) -> BTreeMap<String, i64>;

    /// Rows that refer to a row that is not there, and whatever else the database finds wrong with itself.
    async fn faults(&self) -> Vec<String>;
}

pub(crate) async fn a_database_of_every_earlier_version_is_upgraded_with_all_its_rows<D: OldDatabase>() {
    let fresh = D::empty().await;
    drop(fresh.open().await);
    let newest = fresh.schema().await;
    for version in 1..STEPS.len() {
        let old = of_version::<D>(version).await;
        let before = old.counts().await;
        let empty: Vec<_> = before.iter().filter(|(_, rows)| **rows == 0).collect();
        assert!(empty.is_empty(), "version {version}: write rows into {empty:?} in upgrade/");
        drop(old.open().await);
        assert_eq!(old.schema().await, newest, "from version {version}");
        assert_eq!(old.faults().await, [""; 0], "from version {version}");
        check_counts(version, &before, &old.counts().await);
        let has_events = version >= D::EVENTS_SINCE;
        check_by_operations(version, has_events, &old.open().await).await;
    }
}

async fn of_version<D: OldDatabase>(version: usize) -> D {
    let mut old = D::empty().await;
    for step in 1..=version {
        let rows = ROWS.iter().find(|(written, _)| *written == step).map_or("", |(_, rows)| rows);
        old.step(step, rows).await;
    }
    old
}

fn check_counts(version: usize, before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) {
    let gone: BTreeSet<_> = before.keys().filter(|table| !after.contains_key(*table)).map(String::as_str).collect();
    let is_gone = |table: &&str| GONE.contains(table);
    assert!(gone.iter().all(is_gone), "version {version}: {gone:?}");
    for (table, rows) in before.iter().filter(|(table, _)| !gone.contains(table.as_str())) {
        let is_refilled = version < COUNTS_BY_DAY && REFILLED.contains(&table.as_str());
        let expected = if is_refilled { &before["tenants"] } else { rows };
        assert_eq!(&after[table], expected, "rows of {table} from version {version}");
    }
}

/// Looks at the rows as the program does, and goes on working with them.
async fn check_by_operations(version: usize, has_events: bool, store: &SharedStore) {
    let owner = store.user_by_email("owner@acme.example").await.unwrap().expect("the owner is there");
    assert_eq!((owner.tenant_id.as_str(), owner.role), ("acme", UserRole::Owner), "from version {version}");
    for noun in PLAN {
        let page = store.tenant_data(owner.tenant, noun, None, 100).await.unwrap();
        let is_missing = page.lines.is_empty() && version + 1 == STEPS.len();
        assert!(!is_missing, "version {version}: no line of {}", noun.name);
    }
    if version >= 6 {
        let audit = store.verify_audit(owner.tenant, None).await.unwrap();
        assert_eq!((audit.entries, audit.findings), (2, vec![]), "from version {version}");
    }
    if has_events {
        check_events(version, store, &owner).await;
    }
    let (new_edge, head) = (edge(store, &owner, "edge_new").await, store.feed_head().await.unwrap());
    let event = incoming(&owner, &new_edge, 1, Body::Detections(detection(11_000)));
    store.record_events(vec![event]).await.unwrap();
    assert_eq!(store.feed_after(owner.tenant, head, 10).await.unwrap().len(), 1, "from version {version}");
}

async fn check_events(version: usize, store: &SharedStore, owner: &User) {
    let detections = if version < 3 { 2 } else { 3 };
    let page = PageRequest { before: None, limit: 100 };
    let listed = store.list_detections(owner.tenant, EventFilter::default(), page).await.unwrap();
    assert_eq!(listed.items.len(), detections, "from version {version}");
    let of_car = EventFilter { object_class: Some("car".into()), ..EventFilter::default() };
    assert_eq!(store.list_detections(owner.tenant, of_car, page).await.unwrap().items.len(), 1);
    let clip = store.media_event(owner.tenant, MediaKind::Clip, &"clip_1".parse().unwrap()).await.unwrap();
    let (_, file) = clip.expect("a clip is found by its id");
    assert_eq!(file.is_some_and(|file| file.stored_at.is_some()), version >= 2, "from version {version}");
    check_charts(version, store, owner, detections).await;
    count_ahead(store).await;
    check_charts(version, store, owner, detections).await;
}

async fn check_charts(version: usize, store: &SharedStore, owner: &User, detections: usize) {
    let query = CountQuery { buckets: span(0, 3_600_000), ..CountQuery::default() };
    let counted = store.count_detections(owner.tenant, query.clone()).await.unwrap();
    let sum: u64 = counted.iter().map(|count| count.count).sum();
    assert_eq!(sum, detections as u64, "from version {version}");
    let zones = store.count_zone_events(owner.tenant, query).await.unwrap();
    assert_eq!(zones.iter().map(|count| count.tally.enters).sum::<u64>(), 1, "from version {version}");
}
