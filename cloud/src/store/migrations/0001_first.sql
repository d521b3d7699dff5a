-- The cloud's database, version 1.
--
-- Times are integers: milliseconds since 1970-01-01T00:00:00Z. Readable names live in small tables; the big table,
-- events, holds integers. Every index that serves a list begins with the tenant and ends with the event id, so that
-- a page is a range of one index. Each further index rewrites about one page per event when it scatters over cameras
-- or edges: think before adding one.

create table tenants (
    -- Row number, the `TenantKey` of the program.
    id integer primary key,
    -- Slug in topics, certificates and tokens; never changes.
    tenant_id text not null unique,
    -- What people call it.
    name text not null,
    created_at integer not null
) strict;

create table users (
    id integer primary key,
    tenant integer not null references tenants (id),
    -- Address the user signs in with, lower case; unique over all tenants, because it alone finds the tenant.
    email text not null unique,
    name text not null,
    -- owner, admin, operator or viewer.
    role text not null,
    -- Argon2id in PHC form; never a password.
    password_hash text not null,
    -- Counts up when all tokens of the user become invalid.
    token_generation integer not null default 0,
    created_at integer not null
) strict;

create table edges (
    -- Row number, the `EdgeKey` of the program.
    id integer primary key,
    tenant integer not null references tenants (id),
    -- `edge_` and random characters, unique over all tenants.
    edge_id text not null unique,
    name text not null,
    created_at integer not null,
    -- SHA-256 of the one-time secret while it is good; once it is spent a mark made of that, so that whoever holds the
    -- secret can be told so. Null when it was spent before this was kept.
    secret_hash blob,
    -- When the edge last proved its secret; null before.
    enrolled_at integer,
    -- When it was withdrawn; null while it counts.
    revoked_at integer,
    -- 1 while its MQTT session is up.
    connected integer not null default 0,
    -- Number of the connection `connected` speaks of; an older connection's end changes nothing.
    generation integer not null default 0,
    -- Last sign of life over any way.
    last_seen integer,
    -- Version of the appliance program, from its last heartbeat.
    version text
) strict;
create index edges_by_tenant on edges (tenant, id);

create table operators (
    id integer primary key,
    tenant integer not null references tenants (id),
    -- Id in the certificate's URN, unique in the tenant.
    operator_id text not null,
    name text not null,
    created_at integer not null,
    -- End of the certificate's life.
    not_after integer not null,
    -- When it was withdrawn; null while it counts.
    revoked_at integer,
    unique (tenant, operator_id)
) strict;

create table certificates (
    -- SHA-256 of the certificate in DER.
    fingerprint blob not null primary key,
    tenant integer not null references tenants (id),
    -- Whom it speaks for: exactly one of the two.
    edge integer references edges (id),
    operator integer references operators (id),
    -- SubjectPublicKeyInfo in DER; checks tokens signed with the device key.
    public_key_der blob not null,
    issued_at integer not null,
    not_after integer not null,
    -- When it was withdrawn; null while it counts.
    revoked_at integer,
    check ((edge is null) <> (operator is null))
) strict, without rowid;
create index certificates_by_edge on certificates (edge) where edge is not null;
create index certificates_by_operator on certificates (operator) where operator is not null;

-- Names that events refer to by number. A camera's slug is unique on its edge only; edges of one tenant may share a
-- row, and a list that means one of them names the edge beside it.
create table cameras (
    id integer primary key,
    tenant integer not null references tenants (id),
    name text not null,
    unique (tenant, name)
) strict;
create table zones (
    id integer primary key,
    tenant integer not null references tenants (id),
    name text not null,
    unique (tenant, name)
) strict;
create table object_classes (
    id integer primary key,
    tenant integer not null references tenants (id),
    name text not null,
    unique (tenant, name)
) strict;
create table outboxes (
    id integer primary key,
    edge integer not null references edges (id),
    name text not null,
    unique (edge, name)
) strict;

-- only SQLite
create table events (
    -- Strictly rising in the order of storing and never used twice: the cursor of the live feed.
    feed_number integer primary key autoincrement,
    tenant integer not null,
    -- ULID as 16 bytes; its time part is the event's own time, so its order is the order of lists.
    id blob not null,
    edge integer not null,
    outbox integer not null,
    seq integer not null,
    -- Number of the topic kind, see `kind_number`: 1 detections, 2 zone-events, 3 alerts, 4 health, 5 clips,
    -- 9 snapshots, 10 footage.
    kind integer not null,
    -- The camera it is about; null for health.
    camera integer,
    received_at integer not null,
    -- What lists filter by, copied out of the body; null where the kind has none.
    object_class integer,
    track text,
    confidence real,
    zone integer,
    -- See `event_type_number`: 1 enter, 2 exit, 3 dwell, 4 cross, 5 occupied, 6 cleared.
    event_type integer,
    -- The body in JSON; the envelope's other fields are the columns above.
    body text not null,
    unique (tenant, id),
    unique (edge, outbox, seq)
) strict;
create index events_by_kind on events (tenant, kind, id);
create index events_by_camera on events (tenant, camera, id);
-- Ends with the row number, as every index does: the live feed of one tenant without reading the others' rows.
create index events_by_feed on events (tenant);
-- both

-- Messages that count as stored although no list shows them: of a newer version, or with an event id that another
-- place of an outbox has taken. Kept as they came, so that nothing is lost.
create table quarantine (
    id integer primary key,
    tenant integer not null references tenants (id),
    edge integer not null references edges (id),
    outbox integer not null references outboxes (id),
    seq integer not null,
    kind integer not null,
    received_at integer not null,
    -- The whole payload.
    payload blob not null,
    -- SHA-256 of the payload: the same message twice is one row, different messages for one place are several.
    payload_hash blob not null,
    -- Why it could not be an event.
    reason text not null,
    unique (edge, outbox, seq, payload_hash)
) strict;
