-- Version 10: presence, labels and the newest health of edges.

-- What was told last of each edge's presence.
create table edge_presence (
    edge integer primary key references edges (id),
    -- nothing, online or offline.
    told text not null,
    -- Since when that is so.
    since integer,
    -- Since when an edge that is told offline has been heard without a break; null otherwise.
    heard_since integer,
    -- Take-overs of its connection since `take_overs_since`, for the alarm.
    take_overs integer not null default 0,
    take_overs_since integer
) strict;

create table presence_events (
    id integer primary key,
    tenant integer not null references tenants (id),
    edge integer not null references edges (id),
    -- ULID of `noted_at`, the order of lists.
    event_id blob not null,
    -- online, offline or take_over.
    kind text not null,
    -- Since when the edge is there, its last sign of life, or when the take-over was seen.
    at integer not null,
    -- When the cloud found out.
    noted_at integer not null,
    -- What was seen, for a person; null where the kind says all.
    detail text
) strict;
create index presence_events_by_edge on presence_events (tenant, edge, event_id);

create table edge_labels (
    edge integer not null references edges (id),
    tenant integer not null references tenants (id),
    name text not null,
    value text not null,
    primary key (edge, name)
) strict;
create index edge_labels_by_value on edge_labels (tenant, name, value, edge);

-- The newest health report of each edge, so that showing it needs no search among all events.
create table edge_health (
    edge integer primary key references edges (id),
    -- When the edge measured it.
    at integer not null,
    received_at integer not null,
    -- The report in JSON.
    report text not null
) strict;
