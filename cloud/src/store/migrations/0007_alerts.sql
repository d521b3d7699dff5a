-- Version 7: alert rules, alerts and incidents.
--
-- Alerts are few beside events, so that their rows hold names as text. Ids are ULIDs of 16 bytes; an alert's time part
-- is the time of what it tells of, so its order is the order of lists.

-- The state of a tenant's rules as a whole; a tenant without a row has not got its first rules yet.
create table rule_sets (
    tenant integer primary key references tenants (id),
    -- 16 random bytes, others after each change: processes keep rules in memory under them.
    version blob not null
) strict;

create table alert_rules (
    id integer primary key,
    tenant integer not null references tenants (id),
    rule_id blob not null,
    -- Counts up with each change; a change names the version it was made from.
    version integer not null,
    -- The rule in JSON, `aivms_cloud_core::rules::Rule`.
    body text not null,
    created_at integer not null,
    changed_at integer not null,
    -- Who changed it last; null for the program.
    changed_by integer references users (id),
    unique (tenant, rule_id)
) strict;

-- What rules remember of each thing that they count for: times of alerts and of occurrences that count.
create table rule_memories (
    tenant integer not null references tenants (id),
    rule_id blob not null,
    -- What is counted for, `aivms_cloud_core::rules::Scope`.
    scope text not null,
    -- `aivms_cloud_core::rules::ScopeMemory` in JSON.
    body text not null,
    -- When it was written last: a memory is of no use after the longest cool-down.
    touched_at integer not null,
    unique (tenant, rule_id, scope)
) strict;
create index rule_memories_by_age on rule_memories (touched_at);

-- The number of the last change of an alert of each tenant. Whoever changes one takes the next, so that numbers rise
-- in the order of commits; taking it also keeps two processes from opening two incidents of one place.
create table alert_feeds (
    tenant integer primary key references tenants (id),
    head integer not null
) strict;

create table incidents (
    id integer primary key,
    tenant integer not null references tenants (id),
    incident_id blob not null,
    -- What is folded together: alerts of one edge.
    edge integer not null references edges (id),
    first_at integer not null,
    last_at integer not null,
    -- Number of its alerts.
    alerts integer not null,
    unique (tenant, incident_id)
) strict;
create index incidents_by_place on incidents (tenant, edge, last_at);

create table alerts (
    id integer primary key,
    tenant integer not null references tenants (id),
    alert_id blob not null,
    -- What it is about, `aivms_cloud_core::rules::DedupKey`: no second alert of the same, whoever raises it.
    dedup_key text not null,
    incident integer not null references incidents (id),
    rule_id blob not null,
    -- The rule's name when it was raised; the rule may be gone since.
    rule_name text not null,
    -- `aivms_cloud_core::rules::Kind`.
    kind text not null,
    -- 1 info, 2 warning, 3 critical.
    severity integer not null,
    -- 1 open, 2 acknowledged, 3 resolved.
    state integer not null,
    edge integer not null references edges (id),
    -- Names; null where it is about none.
    camera text,
    zone text,
    object_class text,
    track text,
    -- One line for a person.
    title text not null,
    -- The event that raised it; null for what the cloud found out by itself.
    event blob,
    -- The cloud's time of raising it.
    raised_at integer not null,
    -- When it was raised or reopened: escalation counts from here.
    open_since integer not null,
    acknowledged_at integer,
    acknowledged_by integer references users (id),
    resolved_at integer,
    resolved_by integer references users (id),
    assignee integer references users (id),
    -- Reasons in JSON, a list of `aivms_cloud_core::rules::Finding`.
    why text not null,
    -- Ids of notification channels in JSON, as the rule named them when it was raised.
    targets text not null,
    -- Steps in JSON, as the rule had them when it was raised: an alert keeps its own promise.
    escalation text not null,
    -- Steps carried out since `open_since`.
    escalated integer not null,
    -- When the next step is due; null when none is, or somebody looks after it.
    escalate_at integer,
    -- The number of its last change, see alert_feeds.
    change_number integer not null,
    unique (tenant, alert_id),
    unique (tenant, dedup_key)
) strict;
create index alerts_by_state on alerts (tenant, state, alert_id);
create index alerts_by_camera on alerts (tenant, camera, alert_id);
create index alerts_by_rule on alerts (tenant, rule_id, alert_id);
create index alerts_by_incident on alerts (tenant, incident, alert_id);
create index alerts_by_change on alerts (tenant, change_number);
create index alerts_to_escalate on alerts (escalate_at) where escalate_at is not null;

-- What happened to an alert, one row per step.
create table alert_steps (
    id integer primary key,
    tenant integer not null references tenants (id),
    alert integer not null references alerts (id),
    at integer not null,
    -- Who did it; null for the program.
    person integer references users (id),
    -- raised, escalated, acknowledged, resolved, reopened, assigned or commented.
    step text not null,
    -- A comment, whom it was assigned to, or what an escalation did; null where there is nothing to say.
    note text
) strict;
create index alert_steps_by_alert on alert_steps (tenant, alert, id);

-- Alerts that were not raised, folded: one row per rule, thing, gate and hour.
create table suppressed_alerts (
    id integer primary key,
    tenant integer not null references tenants (id),
    suppressed_id blob not null,
    rule_id blob not null,
    scope text not null,
    -- What stopped it, `aivms_cloud_core::rules::Gate`.
    gate text not null,
    -- Hours since 1970 of the first one.
    hour integer not null,
    edge integer not null references edges (id),
    camera text,
    first_at integer not null,
    last_at integer not null,
    times integer not null,
    -- Of the last one: its line, its event, its reasons in JSON.
    title text not null,
    event blob,
    why text not null,
    unique (tenant, suppressed_id),
    unique (tenant, rule_id, scope, gate, hour)
) strict;
