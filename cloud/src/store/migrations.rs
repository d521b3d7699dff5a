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
    include_str!("migrations/0018_presence_order.sql"),
    include_str!("migrations/0019_place_index.sql"),
];

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::STEPS;

    /// SHA-256 of each step as it was released. A new step gets a new line; a line that is there stays as it is, since
    /// databases have taken that step.
    const RELEASED: &[&str] = &[
        "54d9d6bd6e825013c2c916327cd2f70788e2064d488ad64a2f06e19cf8e60f8f",
        "2b829ce9daa631daf7408cfd0173d3556d81361fb8c2b4f5bb81ddd33465e8f7",
        "36a1bff8a056d139f536d82f8deec7720f3c6750d791afd47456f2922477eb02",
        "9cbb1cc884ebaf22091c02bd1b5366e4c7dc5f8f6baabbcc43113fbb72239923",
        "1c8b5a5633a04ccc5c5ef3b8b6b95728f5fdd1a0ddaab5349839c5264e0bbd0e",
        "d3334b2d3de03adaae38ea2e6ceabf6472cb3021774cf139f5497f5d4f7fd6a0",
        "8fb2d081f371861e8441974d64b3afd96ac0de886ada5978826ea03caa6b362c",
        "17c37ab23b8d9d6479e723f86a12d08b9d6f69977a44cd731e6f7e00ebc1f33d",
        "c2652b97686084538645bacd347b9e92c1db787a116d013a065a41350ec25503",
        "de604ccdda57100e6a1c3f1cccfb3f7a3d0c6c87af5bfb12c54bf0aa78b450bd",
        "02dfe48bebf2bd01cdd866170b01a3f7224e01a8e82457f0df1b635689ea31a7",
        "dd36691f4e4f748f671cf18397d9a2c6a194cf24c584e773610f256fce44a886",
        "6941573a06fa43f0b935e3eefc044acd81c72cc2cb0f503b81af59868e4538b7",
        "9cf007e0f8cc5a1a25ab3c04aed01bf675162e279c232689c6382e9f695d6697",
        "cfb60ad455e3884153d79390ad09104bd4958350cb140c7142dc3ed265533cc0",
        "c3b7aca23cbee9c2d0a13d4dbcba6a63c468fff2538c239ea7378debede9952b",
        "28becb7481b37c5a146eb44e9d01e433d91b85e80f46b7e625f370b96f5f3076",
        "b36772a97652d0484e15e7f0887952cd656300aef574ba01446f065198ef78de",
        "af7ffe03b6a8c8640405b83c47b3890664b2626d9a6c7fd8a9358008530c053c",
    ];
    /// And of what PostgreSQL takes after the third.
    const RELEASED_EVENTS: &str = "471fe41446db2a4f9f75365c54a284a7b179aff4f6a41d50396c5f48057b6a44";

    fn sum(sql: &str) -> String {
        hex::encode(Sha256::digest(sql))
    }

    #[test]
    fn a_released_step_never_changes_and_a_new_one_is_written_down() {
        for (number, (step, released)) in (1..).zip(STEPS.iter().zip(RELEASED)) {
            assert_eq!(sum(step), *released, "step {number} was released: what is to change comes in a new step");
        }
        assert_eq!(STEPS.len(), RELEASED.len(), "write the SHA-256 of each step down");
        assert_eq!(sum(include_str!("postgres/events.sql")), RELEASED_EVENTS, "events.sql was released");
    }
}
