//! What an export holds: a noun for each kind of thing, with the columns it has.
//!
//! A new table of a tenant's belongs here or into [`LEFT_OUT`]; a test reads the schema and asks for it.

use super::Form::{self, Document, Hex, Id, Plain, Time, Truth};
use super::Order::{self, Bytes, Numbers, Texts};

/// One kind of thing.
#[derive(Debug)]
pub struct Noun {
    /// Its folder in the archive.
    pub name: &'static str,
    /// The tables it is read from.
    pub(super) from: &'static str,
    /// What holds for the rows of the tenant `?1`.
    pub(super) condition: &'static str,
    /// Columns that tell the rows apart, in the order of the lines.
    pub(super) order: &'static [(&'static str, Order)],
    /// Member of the line, expression, and what it is.
    pub(super) columns: &'static [(&'static str, &'static str, Form)],
}

macro_rules! nouns {
    ($($name:literal: $from:literal, $condition:literal, [$($key:literal $order:ident),+],
        { $($member:ident = $column:literal $form:ident),+ $(,)? };)*) => {
        /// Everything of a tenant, in the order in which it is written.
        pub const PLAN: &[Noun] = &[$(Noun {
            name: $name,
            from: $from,
            condition: $condition,
            order: &[$(($key, $order)),+],
            columns: &[$((stringify!($member), $column, $form)),+],
        }),*];
    };
}

nouns! {
    "tenant": "tenants t left join sign_in_settings g on g.tenant = t.id", "t.id = ?1", ["t.id" Numbers], {
        tenant_id = "t.tenant_id" Plain, name = "t.name" Plain, created_at = "t.created_at" Time,
        second_factor_required = "g.second_factor_required" Truth,
        deletion_asked_at = "t.deletion_asked_at" Time, deletion_asked_by = "t.deletion_asked_by" Plain,
        deletion_due_at = "t.deletion_due_at" Time };
    "people": "users u left join second_factors f on f.person = u.id and f.confirmed_at is not null",
        "u.tenant = ?1", ["u.user_id" Texts], {
        user_id = "u.user_id" Plain, email = "u.email" Plain, name = "u.name" Plain, role = "u.role" Plain,
        all_cameras = "u.all_cameras" Truth, created_at = "u.created_at" Time, last_sign_in = "u.last_sign_in" Time,
        disabled_at = "u.disabled_at" Time, removed_at = "u.removed_at" Time, second_factor_since = "f.confirmed_at" Time };
    "people_cameras": "user_cameras c join users u on u.id = c.person join edges e on e.id = c.edge",
        "u.tenant = ?1", ["u.user_id" Texts, "e.edge_id" Texts, "c.camera" Texts], {
        user_id = "u.user_id" Plain, edge_id = "e.edge_id" Plain, camera_id = "c.camera" Plain };
    "sessions": "sessions s join users u on u.id = s.person", "u.tenant = ?1", ["s.session_id" Texts], {
        session_id = "s.session_id" Plain, user_id = "u.user_id" Plain, method = "s.method" Plain,
        address = "s.address" Plain, agent = "s.agent" Plain, created_at = "s.created_at" Time,
        last_used_at = "s.last_used_at" Time, ends_at = "s.ends_at" Time, ended_at = "s.ended_at" Time };
    "invitations": "invitations i join users u on u.id = i.invited_by", "i.tenant = ?1", ["i.invitation_id" Texts], {
        invitation_id = "i.invitation_id" Plain, email = "i.email" Plain, role = "i.role" Plain,
        cameras = "i.cameras" Document, invited_by = "u.user_id" Plain, created_at = "i.created_at" Time,
        expires_at = "i.expires_at" Time, accepted_at = "i.accepted_at" Time };
    "api_keys": "api_keys k join users u on u.id = k.person", "k.tenant = ?1", ["k.key_id" Texts], {
        key_id = "k.key_id" Plain, name = "k.name" Plain, acts_for = "u.user_id" Plain, role = "k.role" Plain,
        cameras = "k.cameras" Document, created_at = "k.created_at" Time, expires_at = "k.expires_at" Time,
        last_used_at = "k.last_used_at" Time, revoked_at = "k.revoked_at" Time };
    "identity_providers": "identity_providers p", "p.tenant = ?1", ["p.tenant" Numbers], {
        issuer = "p.issuer" Plain, client_id = "p.client_id" Plain, allowed_domains = "p.allowed_domains" Document,
        default_role = "p.default_role" Plain, changed_at = "p.changed_at" Time };
    "provider_identities": "provider_identities p join users u on u.id = p.person",
        "p.tenant = ?1", ["p.issuer" Texts, "p.subject" Texts], {
        user_id = "u.user_id" Plain, issuer = "p.issuer" Plain, subject = "p.subject" Plain,
        created_at = "p.created_at" Time };
    "edges": "edges e left join edge_presence p on p.edge = e.id left join edge_health h on h.edge = e.id",
        "e.tenant = ?1", ["e.edge_id" Texts], {
        edge_id = "e.edge_id" Plain, name = "e.name" Plain, created_at = "e.created_at" Time,
        enrolled_at = "e.enrolled_at" Time, revoked_at = "e.revoked_at" Time, last_seen = "e.last_seen" Time,
        version = "e.version" Plain, presence = "p.told" Plain, presence_since = "p.since" Time,
        health_at = "h.at" Time, health = "h.report" Document };
    "edge_labels": "edge_labels l join edges e on e.id = l.edge",
        "l.tenant = ?1", ["e.edge_id" Texts, "l.name" Texts], {
        edge_id = "e.edge_id" Plain, name = "l.name" Plain, value = "l.value" Plain };
    "cameras": "cameras c", "c.tenant = ?1", ["c.name" Texts], { camera_id = "c.name" Plain };
    "zones": "zones z", "z.tenant = ?1", ["z.name" Texts], { zone_id = "z.name" Plain };
    "operators": "operators o", "o.tenant = ?1", ["o.operator_id" Texts], {
        operator_id = "o.operator_id" Plain, name = "o.name" Plain, created_at = "o.created_at" Time,
        not_after = "o.not_after" Time, revoked_at = "o.revoked_at" Time };
    "certificates":
        "certificates c left join edges e on e.id = c.edge left join operators o on o.id = c.operator",
        "c.tenant = ?1", ["c.fingerprint" Bytes], {
        fingerprint = "c.fingerprint" Hex, edge_id = "e.edge_id" Plain, operator_id = "o.operator_id" Plain,
        issued_at = "c.issued_at" Time, not_after = "c.not_after" Time, revoked_at = "c.revoked_at" Time };
    "desired_documents": "desired_documents d join edges e on e.id = d.edge left join users u on u.id = d.made_by",
        "d.tenant = ?1", ["e.edge_id" Texts, "d.version" Numbers], {
        edge_id = "e.edge_id" Plain, version = "d.version" Plain, document = "d.document" Document,
        made_at = "d.made_at" Time, made_by = "u.user_id" Plain };
    "reported_states": "reported_states r join edges e on e.id = r.edge", "e.tenant = ?1", ["e.edge_id" Texts], {
        edge_id = "e.edge_id" Plain, version = "r.version" Plain, at = "r.at" Time, received_at = "r.received_at" Time,
        applied = "r.applied" Truth, field = "r.field" Plain, reason = "r.reason" Plain, runs = "r.runs" Plain };
    "commands": "commands c join edges e on e.id = c.edge left join users u on u.id = c.created_by",
        "c.tenant = ?1", ["e.edge_id" Texts, "c.command_id" Texts], {
        edge_id = "e.edge_id" Plain, command_id = "c.command_id" Plain, command = "c.command" Plain,
        payload = "c.payload" Document, camera_id = "c.camera" Plain, state = "c.state" Plain,
        created_at = "c.created_at" Time, created_by = "u.user_id" Plain, expires_at = "c.expires_at" Time,
        sent_at = "c.sent_at" Time, ended_at = "c.ended_at" Time, reason = "c.reason" Plain, data = "c.data" Document };
    "presence_events": "presence_events p join edges e on e.id = p.edge", "p.tenant = ?1", ["p.id" Numbers], {
        event_id = "p.event_id" Id, edge_id = "e.edge_id" Plain, kind = "p.kind" Plain, at = "p.at" Time,
        noted_at = "p.noted_at" Time, detail = "p.detail" Plain };
    "events": "events v join edges e on e.id = v.edge join outboxes o on o.id = v.outbox",
        "v.tenant = ?1", ["v.id" Bytes], {
        event_id = "v.id" Id, edge_id = "e.edge_id" Plain, outbox = "o.name" Plain, seq = "v.seq" Plain,
        kind = "case v.kind when 1 then 'detections' when 2 then 'zone-events' when 3 then 'alerts' when 4 then 'health'
            when 5 then 'clips' when 9 then 'snapshots' when 10 then 'footage' else cast(v.kind as text) end" Plain,
        received_at = "v.received_at" Time, body = "v.body" Document };
    "quarantine": "quarantine q join edges e on e.id = q.edge", "q.tenant = ?1", ["q.id" Numbers], {
        edge_id = "e.edge_id" Plain, seq = "q.seq" Plain, received_at = "q.received_at" Time, reason = "q.reason" Plain,
        payload_sha256 = "q.payload_hash" Hex, payload = "q.payload" Hex };
    "rules": "alert_rules r left join users u on u.id = r.changed_by", "r.tenant = ?1", ["r.rule_id" Bytes], {
        rule_id = "r.rule_id" Id, version = "r.version" Plain, rule = "r.body" Document,
        created_at = "r.created_at" Time, changed_at = "r.changed_at" Time, changed_by = "u.user_id" Plain };
    "incidents": "incidents i join edges e on e.id = i.edge", "i.tenant = ?1", ["i.incident_id" Bytes], {
        incident_id = "i.incident_id" Id, edge_id = "e.edge_id" Plain, first_at = "i.first_at" Time,
        last_at = "i.last_at" Time, alerts = "i.alerts" Plain };
    "alerts": "alerts a join edges e on e.id = a.edge join incidents i on i.id = a.incident
            left join users k on k.id = a.acknowledged_by left join users r on r.id = a.resolved_by
            left join users s on s.id = a.assignee",
        "a.tenant = ?1", ["a.alert_id" Bytes], {
        alert_id = "a.alert_id" Id, incident_id = "i.incident_id" Id, rule_id = "a.rule_id" Id,
        rule_name = "a.rule_name" Plain, kind = "a.kind" Plain,
        severity = "case a.severity when 1 then 'info' when 2 then 'warning' else 'critical' end" Plain,
        state = "case a.state when 1 then 'open' when 2 then 'acknowledged' else 'resolved' end" Plain,
        edge_id = "e.edge_id" Plain, camera_id = "a.camera" Plain, zone_id = "a.zone" Plain,
        object_class = "a.object_class" Plain, track_id = "a.track" Plain, title = "a.title" Plain,
        event_id = "a.event" Id, raised_at = "a.raised_at" Time, acknowledged_at = "a.acknowledged_at" Time,
        acknowledged_by = "k.user_id" Plain, resolved_at = "a.resolved_at" Time, resolved_by = "r.user_id" Plain,
        assignee = "s.user_id" Plain, why = "a.why" Document };
    "alert_steps": "alert_steps s join alerts a on a.id = s.alert left join users u on u.id = s.person",
        "s.tenant = ?1", ["s.id" Numbers], {
        alert_id = "a.alert_id" Id, at = "s.at" Time, user_id = "u.user_id" Plain, step = "s.step" Plain,
        note = "s.note" Plain };
    "suppressed_alerts": "suppressed_alerts s join edges e on e.id = s.edge",
        "s.tenant = ?1", ["s.suppressed_id" Bytes], {
        suppressed_id = "s.suppressed_id" Id, rule_id = "s.rule_id" Id, gate = "s.gate" Plain,
        edge_id = "e.edge_id" Plain, camera_id = "s.camera" Plain, first_at = "s.first_at" Time,
        last_at = "s.last_at" Time, times = "s.times" Plain, title = "s.title" Plain, event_id = "s.event" Id,
        why = "s.why" Document };
    "channels": "channels c left join users u on c.kind = 3 and u.tenant = c.tenant and cast(u.id as text) = c.target",
        "c.tenant = ?1", ["c.channel_id" Texts], {
        channel_id = "c.channel_id" Plain, name = "c.name" Plain,
        kind = "case c.kind when 1 then 'mail' when 2 then 'webhook' else 'user' end" Plain,
        target = "case c.kind when 3 then null else c.target end" Document, user_id = "u.user_id" Plain,
        least_severity = "case c.least_severity when 0 then 'info' when 1 then 'warning' else 'critical' end" Plain,
        enabled = "c.enabled" Truth, disabled_reason = "c.disabled_reason" Plain, created_at = "c.created_at" Time };
    "notification_preferences": "notification_preferences p join users u on u.id = p.person",
        "p.tenant = ?1", ["u.user_id" Texts], {
        user_id = "u.user_id" Plain, preferences = "p.preferences" Document };
    "push_subscriptions": "push_subscriptions p join users u on u.id = p.person",
        "p.tenant = ?1", ["p.subscription_id" Texts], {
        subscription_id = "p.subscription_id" Plain, user_id = "u.user_id" Plain, label = "p.label" Plain,
        created_at = "p.created_at" Time };
    "mail_refusals": "mail_refusals m", "m.tenant = ?1", ["m.address" Texts], {
        address = "m.address" Plain, refused_at = "m.refused_at" Time };
    "deliveries": "deliveries d left join users u on u.id = d.person", "d.tenant = ?1", ["d.delivery_id" Bytes], {
        delivery_id = "d.delivery_id" Id, alert_id = "d.alert" Id, reason = "d.reason" Plain, step = "d.step" Plain,
        means = "case d.means when 1 then 'mail' when 2 then 'webhook' else 'push' end" Plain,
        receiver = "d.receiver" Plain, channel_id = "d.channel" Plain, user_id = "u.user_id" Plain,
        message = "d.message" Document,
        state = "case d.state when 1 then 'waiting' when 2 then 'delivered' when 3 then 'failed' else 'left_out' end" Plain,
        owed_at = "d.owed_at" Time, finished_at = "d.finished_at" Time, last_status = "d.last_status" Plain,
        last_error = "d.last_error" Plain };
    "delivery_attempts": "delivery_attempts t join deliveries d on d.id = t.delivery",
        "d.tenant = ?1", ["t.id" Numbers], {
        delivery_id = "d.delivery_id" Id, at = "t.at" Time, took_ms = "t.took_ms" Plain, status = "t.status" Plain,
        error = "t.error" Plain };
    "retention_policy": "retention_policies p", "p.tenant = ?1", ["p.tenant" Numbers], {
        policy = "p.policy" Document, changed_at = "p.changed_at" Time };
    "tenant_exports": "tenant_exports x", "x.tenant = ?1", ["x.id" Numbers], {
        export_id = "x.export_id" Plain, include_media = "x.include_media" Truth, state = "x.state" Plain,
        asked_at = "x.asked_at" Time, asked_by = "x.asked_by" Plain, finished_at = "x.finished_at" Time };
    "audit": "audit_entries a join tenants t on t.id = a.tenant", "a.tenant = ?1", ["a.seq" Numbers], {
        seq = "a.seq" Plain, tenant = "t.tenant_id" Plain, at = "a.at" Time, at_ms = "a.at" Plain,
        actor_kind = "a.actor_kind" Plain, actor_id = "a.actor_id" Plain, actor_name = "a.actor_name" Plain,
        address = "a.address" Plain, action = "a.action" Plain, subject = "a.subject" Plain, detail = "a.detail" Plain,
        previous = "a.previous" Hex, hash = "a.hash" Hex };
}

/// Tables of tenants that no noun reads, and why.
#[cfg(test)]
pub(in crate::store) const LEFT_OUT: &[(&str, &str)] = &[
    ("alert_feeds", "a counter"),
    ("audit_folds", "what was noted lately, to note it once"),
    ("audit_heads", "the last line of audit"),
    ("day_cameras", "counted from events"),
    ("day_classes", "counted from events"),
    ("day_zones", "counted from events"),
    ("idempotency_keys", "sealed answers of the last day"),
    ("media", "media/manifest, beside the files"),
    ("media_totals", "a sum over media"),
    ("object_classes", "names that events tell"),
    ("outboxes", "names that events tell"),
    ("password_resets", "lets people in"),
    ("provider_flows", "lets people in"),
    ("quarter_backlogs", "progress of counting"),
    ("quarter_events", "counted from events"),
    ("quarter_marks", "progress of counting"),
    ("receiver_turns", "whose turn it is to send"),
    ("recovery_codes", "lets people in"),
    ("refresh_tokens", "lets people in"),
    ("relay_homes", "which process shows an edge now"),
    ("rule_memories", "what rules remember of events"),
    ("rule_sets", "a mark of the version of rules"),
    ("sign_in_codes", "lets people in"),
];

#[cfg(test)]
impl Noun {
    /// Whether it reads a table.
    pub(in crate::store) fn reads(&self, table: &str) -> bool {
        self.from.split_whitespace().any(|word| word == table)
    }
}
