-- Version 6: the audit log, and what is remembered of requests that create something.

-- One row per entry of a tenant's chain; nothing updates or deletes a row before the tenant itself goes. What is
-- hashed, and how, stands at `Entry::canonical` of the core.
create table audit_entries (
    tenant integer not null references tenants (id),
    -- Its place in the chain: 1, 2, 3 and so on.
    seq integer not null,
    at integer not null,
    -- user, api_key, edge, operator, link or system.
    actor_kind text not null,
    -- Address of a person, id of a key, an edge or an operator; empty for the system and links.
    actor_id text not null,
    -- What people call the actor.
    actor_name text not null,
    -- The network address it came from.
    address text,
    -- What was done, such as user.signed_in.
    action text not null,
    -- What it was done to: an id, or `<edge>/<camera>`.
    subject text,
    -- More about it: a JSON object, as it was hashed.
    detail text not null,
    -- SHA-256 of the entry before; 32 zeros in the first one.
    previous blob not null,
    -- SHA-256 of this one.
    hash blob not null,
    primary key (tenant, seq)
) strict, without rowid;
create index audit_by_action on audit_entries (tenant, action, seq);
create index audit_by_actor on audit_entries (tenant, actor_id, seq);

-- The end of each tenant's chain: whoever appends takes this row, so that numbers have no gap.
create table audit_heads (
    tenant integer primary key references tenants (id),
    -- The last entry's place.
    seq integer not null,
    -- The last entry's hash.
    hash blob not null
) strict;

-- What was viewed lately: the same viewing by the same person makes no further entry before `until`.
create table audit_folds (
    tenant integer not null references tenants (id),
    -- Who viewed what.
    fold text not null,
    until integer not null,
    primary key (tenant, fold)
) strict, without rowid;

create table idempotency_keys (
    -- Row number: the claim of the request that is at work.
    id integer primary key autoincrement,
    -- Null for a registration, which makes its tenant.
    tenant integer references tenants (id),
    -- Keyed hash of who asks and of the key; the key itself is not kept.
    key_hash blob not null unique,
    -- Keyed hash of the operation and its body.
    fingerprint blob not null,
    began_at integer not null,
    -- 1 once the transaction that does what was asked for is committed; it sets this itself.
    carried_out integer not null default 0,
    -- The answer, sealed with the key; null before.
    answer blob
) strict;
create index idempotency_by_age on idempotency_keys (began_at);
