//! The steps of the schema, which every database takes in the same order.
//!
//! They are written in SQLite's words; PostgreSQL is given them in its own (`postgres/translate.rs`). What PostgreSQL
//! must have differently, the big table of events, stands between the lines `-- only SQLite` and `-- both`.

/// The steps in order; step n takes version n-1 to n. A released step never changes.
pub(super) const STEPS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_media.sql"),
    include_str!("migrations/0003_engine.sql"),
    include_str!("migrations/0004_commands.sql"),
    include_str!("migrations/0005_people.sql"),
    include_str!("migrations/0006_audit.sql"),
    include_str!("migrations/0007_alerts.sql"),
    include_str!("migrations/0008_notifications.sql"),
    include_str!("migrations/0009_analytics_and_retention.sql"),
    include_str!("migrations/0010_presence.sql"),
    include_str!("migrations/0011_operations.sql"),
    include_str!("migrations/0012_list_indexes.sql"),
    include_str!("migrations/0013_servers.sql"),
    include_str!("migrations/0014_tenants.sql"),
    include_str!("migrations/0015_deletion_indexes.sql"),
    include_str!("migrations/0016_day_counts.sql"),
    include_str!("migrations/0017_type_index.sql"),
];
