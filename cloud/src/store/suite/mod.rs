//! The promises of [`super::Store`], as tests that every database passes.

pub(crate) mod accounts;
pub(crate) mod alerts;
pub(crate) mod analytics;
pub(crate) mod audit;
pub(crate) mod back_tests;
pub(crate) mod certificates;
pub(crate) mod commands;
pub(crate) mod desired;
pub(crate) mod edge_state;
pub(crate) mod events;
pub(crate) mod idempotency;
pub(crate) mod lists;
pub(crate) mod media;
pub(crate) mod notifications;
pub(crate) mod people;
pub(crate) mod presence;
pub(crate) mod providers;
pub(crate) mod retention;
pub(crate) mod tenants;
pub(crate) mod upgrade;

use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::id::{EdgeId, EventId};
use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::{ZoneEvent, ZoneEventType};

use super::{Edge, Incoming, Message, NewCertificate, NewTenant, SharedStore, User};

/// Declares every test of the suite for a store; `$place` makes an empty place for its data, `$open` opens a store
/// there, or opens it again.
macro_rules! store_suite {
    ($place:expr, $open:expr) => {
        $crate::store::suite::store_suite! { $place, $open;
            accounts: a_registered_owner_is_found_by_address_and_by_row;
            accounts: a_taken_tenant_name_or_address_is_refused_by_field_and_leaves_nothing;
            accounts: edges_are_listed_by_registration_and_only_to_their_tenant;
            alerts: an_event_raises_an_alert_in_its_own_transaction_and_never_again;
            alerts: a_change_of_rules_counts_for_the_next_event;
            alerts: what_an_edge_alerts_of_is_an_alert_without_any_rule_of_the_tenant;
            alerts: what_the_cloud_finds_out_itself_is_asked_about_and_counts_once;
            alerts: a_rule_that_can_not_be_asked_stops_no_event_and_no_other_rule;
            alerts: what_was_stopped_is_counted_with_its_reasons;
            alerts: alerts_that_follow_each_other_are_one_incident_per_edge;
            alerts: a_person_sees_alerts_of_its_cameras_only;
            alerts: each_step_of_an_alerts_life_is_kept_with_who_and_when;
            alerts: an_alert_escalates_step_by_step_until_somebody_acknowledges;
            alerts: a_webhook_that_an_escalation_called_hears_how_it_ended;
            alerts: a_back_test_says_what_was_raised_live;
            back_tests: a_back_test_says_what_was_raised_live_of_edges_that_went_came_and_were_replaced;
            back_tests: a_back_test_of_two_kinds_takes_what_was_stored_first;
            back_tests: a_tenant_has_one_back_test_at_a_time_over_all_processes;
            analytics: detections_are_counted_exactly_before_and_after_counting_ahead;
            analytics: a_count_is_not_kept_when_events_came_meanwhile_or_twice;
            analytics: what_happened_in_zones_is_counted_exactly_before_and_after_counting_ahead;
            retention: events_go_when_they_are_older_than_the_policy_says_and_no_others;
            retention: nothing_goes_under_a_legal_hold;
            retention: a_locked_clip_stays_with_what_tells_of_it_until_its_lock_is_taken_away;
            alerts: resolved_alerts_go_by_the_policy_with_all_that_belongs_to_them_and_open_ones_stay;
            retention: usage_and_charts_say_what_is_there_after_events_went;
            tenants: no_table_keeps_a_row_of_a_deleted_tenant_and_another_tenant_loses_none;
            tenants: every_table_of_a_tenant_is_exported_or_left_out_for_a_reason;
            tenants: a_deletion_is_called_off_until_it_begins_and_never_after;
            tenants: an_export_is_one_process_business_until_it_dies_and_is_given_up_after_a_few;
            tenants: lines_of_every_noun_come_page_by_page_without_gap_or_double;
            audit: entries_appended_at_once_make_one_whole_chain_per_tenant;
            audit: an_entry_stands_if_and_only_if_its_change_does;
            audit: what_is_done_to_edges_is_told_with_who_did_it;
            audit: a_row_changed_behind_the_log_is_named;
            audit: viewing_the_same_again_makes_no_further_entry_for_a_while;
            audit: entries_are_found_by_each_filter_page_by_page_and_by_their_tenant_only;
            audit: details_are_kept_as_they_were_hashed;
            audit: what_changes_nothing_writes_nothing;
            audit: an_entry_about_a_webhook_names_its_host_and_no_more;
            idempotency: a_repeat_gets_the_kept_answer_for_a_day_also_after_a_restart;
            idempotency: a_request_whose_answer_was_lost_is_not_carried_out_again;
            idempotency: of_a_request_and_its_repeat_only_one_happens;
            idempotency: a_request_that_failed_may_be_tried_again;
            idempotency: of_repeats_at_once_one_is_carried_out;
            certificates: a_secret_enrols_once;
            certificates: a_rotated_secret_replaces_the_old_one_and_withdraws_certificates;
            certificates: a_withdrawn_edge_never_comes_back;
            certificates: a_renewed_certificate_and_the_one_before_it_both_count;
            certificates: a_certificate_that_was_withdrawn_meanwhile_renews_nothing;
            certificates: a_certificate_counts_until_its_end;
            certificates: a_certificate_of_another_identity_is_never_written_down;
            certificates: an_operator_lives_until_withdrawn_and_only_in_its_tenant;
            commands: a_command_is_told_in_order_and_again_until_it_is_answered;
            commands: an_answer_counts_once_and_only_from_the_edge_that_was_asked;
            commands: a_command_nobody_answers_expires_and_what_was_not_told_can_be_taken_back;
            commands: commands_of_others_are_as_if_they_did_not_exist;
            commands: pages_of_commands_joined_are_the_whole_list_and_filters_keep_to_it;
            commands: an_edge_has_only_so_many_open_commands;
            desired: a_change_based_on_an_older_version_changes_nothing;
            desired: only_the_latest_versions_are_kept_and_each_is_shown_beside_the_one_before;
            desired: an_edge_that_refuses_a_version_goes_on_with_the_one_it_ran;
            edge_state: an_edge_is_told_offline_and_online_once_each_with_hold_off;
            edge_state: connections_that_replace_each_other_are_told_once_in_ten_minutes;
            edge_state: edges_are_found_by_all_their_labels_page_by_page;
            edge_state: the_newest_health_report_is_the_one_measured_last;
            events: an_event_delivered_again_is_stored_once;
            events: everything_of_an_event_comes_back_as_it_was_sent;
            events: a_colliding_event_id_is_kept_aside_and_fails_nothing;
            events: a_second_event_at_one_place_of_an_outbox_is_kept_aside;
            events: an_unreadable_message_counts_as_stored_once;
            events: a_class_with_a_character_that_no_text_holds_is_kept_aside;
            events: the_feed_has_the_order_of_storing_and_only_the_tenants_events;
            events: feed_numbers_rise_over_a_restart;
            lists: each_filter_shows_exactly_the_matching_events;
            lists: each_type_of_zone_event_is_found_by_its_own_number;
            lists: filters_together_show_what_each_of_them_would;
            lists: pages_joined_are_the_whole_list_without_gap_or_double;
            lists: nothing_of_one_tenant_is_listed_to_another;
            media: a_file_offered_again_is_the_same_and_another_one_under_its_id_is_refused;
            media: a_file_is_stored_once_and_then_never_forgotten;
            media: the_files_of_a_tenant_have_the_room_of_its_quota_and_give_it_back;
            media: clips_and_snapshots_are_listed_with_their_files_and_found_by_event_and_id;
            media: nothing_of_one_tenants_files_is_shown_to_another;
            people: an_invitation_makes_one_user_and_its_mail_goes_with_it;
            people: rules_about_people_hold_in_the_database;
            people: a_removed_person_is_out_and_its_address_is_free;
            people: pages_of_people_joined_are_all_of_them;
            people: a_session_lives_by_its_newest_refresh_token_and_dies_by_an_older_one;
            people: a_code_of_a_second_factor_is_used_once_also_by_two_at_once;
            people: a_key_has_the_rights_that_both_it_and_its_person_have;
            people: a_key_limited_to_cameras_is_an_operators_at_most;
            people: lists_show_only_the_cameras_of_a_scope;
            people: tries_are_counted_for_all_processes_together;
            notifications: an_alert_is_owed_once_to_everybody_who_chooses_one_so_urgent;
            notifications: an_alert_whose_named_channels_are_gone_or_off_is_told_as_if_none_were_named;
            notifications: a_named_user_who_may_not_sign_in_does_not_swallow_an_alert;
            notifications: a_rule_names_channels_that_are_there_and_shows_those_that_get_nothing;
            notifications: the_webhook_of_the_settings_gets_every_tenants_alerts;
            notifications: what_waits_and_what_was_given_up_is_counted;
            notifications: a_receiver_is_one_process_business_until_it_reports_or_its_time_is_over;
            notifications: a_receiver_that_gives_no_answer_rests_and_delays_nobody_else;
            notifications: a_tenant_has_its_share_of_turns_and_leaves_the_others_to_others;
            notifications: a_receiver_whose_turn_has_ended_waits_behind_those_that_had_none;
            notifications: what_failed_is_tried_again_and_every_try_is_logged;
            notifications: a_removed_or_changed_channel_is_what_it_is_now_and_its_secrets_sign_as_long_as_they_should;
            notifications: a_person_is_told_by_the_means_and_at_the_hours_it_chose;
            notifications: the_log_is_paged_filtered_and_only_a_tenants_own;
            providers: a_flow_is_taken_once_and_in_time_with_its_tenants_provider;
            providers: a_provider_brings_in_its_own_tenants_people_only;
            providers: an_invited_person_comes_through_a_provider_with_the_rights_of_the_invitation;
            providers: what_began_through_a_provider_ends_with_it_and_after_a_day;
            providers: keys_of_somebody_without_a_password_count_a_month_after_a_sign_in_and_end_with_the_provider;
            presence: the_newest_connection_decides_whatever_the_order_of_news;
            presence: a_process_that_starts_after_another_has_left_finds_nobody_connected;
        }
    };
    ($place:expr, $open:expr; $($module:ident: $name:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let place = $place;
                let open = || -> $crate::store::SharedStore { ($open)(&place) };
                $crate::store::suite::$module::$name(&open).await;
            }
        )*
    };
}
pub(crate) use store_suite;

/// Opens the test's database: an empty one at first, the same one afterwards.
pub(crate) type Open<'a> = &'a dyn Fn() -> SharedStore;

pub(crate) fn at(millis: i64) -> UtcMillis {
    UtcMillis::from_millis(1_795_352_700_000 + millis)
}

pub(crate) async fn tenant(store: &SharedStore, slug: &str) -> User {
    let tenant = NewTenant {
        tenant_id: slug.parse().unwrap(),
        tenant_name: slug.to_uppercase(),
        email: format!("owner@{slug}.example"),
        name: "Owner".into(),
        password_hash: "$argon2id$none".into(),
    };
    store.register_tenant(tenant, at(0)).await.unwrap()
}

pub(crate) async fn edge(store: &SharedStore, owner: &User, edge_id: &str) -> Edge {
    store.create_edge(owner.tenant, &edge_id.parse().unwrap(), edge_id, [1; 32], at(0)).await.unwrap()
}

fn edge_certificate(owner: &User, edge_id: &EdgeId, fingerprint: u8) -> NewCertificate {
    NewCertificate {
        fingerprint: [fingerprint; 32],
        identity: Identity { tenant: owner.tenant_id.clone(), role: Role::Edge(edge_id.clone()) },
        public_key_der: vec![fingerprint; 3],
        not_after: at(1_000),
    }
}

/// A detection that differs by its place only; tests change what they are about.
pub(crate) fn detection(millis: i64) -> Detection {
    Detection {
        camera_id: "door".parse().unwrap(),
        timestamp: at(millis),
        object_class: "person".into(),
        confidence: 0.75,
        bbox: PixelBox::new(1.0, 2.0, 30.5, 40.0).unwrap(),
        frame: FrameSize { width: 640, height: 480 },
        track_id: "track-1".parse().unwrap(),
        phase: TrackPhase::Start,
        age_ms: 400,
        stationary: false,
    }
}

pub(crate) fn zone_event(millis: i64) -> ZoneEvent {
    let seen = detection(millis);
    ZoneEvent {
        camera_id: seen.camera_id,
        zone_id: "lobby".parse().unwrap(),
        timestamp: seen.timestamp,
        event_type: ZoneEventType::Enter,
        object_class: seen.object_class,
        confidence: seen.confidence,
        track_id: seen.track_id,
        bbox: seen.bbox,
        frame: seen.frame,
        dwell_ms: None,
        exit_reason: None,
        direction: None,
        count: None,
        speed_kmh: None,
        why: vec![],
    }
}

/// Wraps a body as the front would after checking it; the event id is `seq` at the body's time.
pub(crate) fn incoming(owner: &User, edge: &Edge, seq: u64, body: Body) -> Incoming {
    let envelope =
        Envelope::new(edge.edge_id.clone(), "outbox-1".parse().unwrap(), seq, body, entropy(&edge.edge_id, seq));
    Incoming {
        tenant: owner.tenant,
        edge: edge.key,
        received_at: at(5_000),
        message: Message::Known(Box::new(envelope)),
    }
}

fn entropy(edge_id: &EdgeId, seq: u64) -> u128 {
    edge_id.as_str().bytes().fold(u128::from(seq), |sum, byte| sum + (u128::from(byte) << 32))
}

fn id_of(incoming: &Incoming) -> EventId {
    match &incoming.message {
        Message::Known(envelope) => envelope.id,
        Message::Unreadable { .. } => panic!("no event"),
    }
}
