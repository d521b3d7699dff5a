-- Version 2: files of clips and snapshots.

create table media (
    -- Row number, the `MediaKey` of the program; names the file of the part that has arrived.
    id integer primary key autoincrement,
    tenant integer not null references tenants (id),
    edge integer not null references edges (id),
    -- 1 clip, 2 snapshot.
    kind integer not null,
    -- The clip's or snapshot's id, as in its event.
    media_id text not null,
    camera text not null,
    -- All bytes of the file.
    size integer not null,
    -- In hexadecimal.
    sha256 text not null,
    -- 1 video/mp4, 2 image/jpeg.
    content_type integer not null,
    -- Wall time of its first picture.
    captured_at integer not null,
    -- The event it was made for, a ULID as 16 bytes.
    event_id blob,
    -- Its place in the folder or bucket.
    object text not null,
    -- When it was offered last; what is offered no more is given up after a while.
    offered_at integer not null,
    -- When it was put where it stays, checked; null before.
    stored_at integer,
    unique (edge, kind, media_id)
) strict;
create index media_unfinished on media (offered_at) where stored_at is null;

-- Bytes of each tenant's files, offered and stored: what its quota counts.
create table media_totals (
    tenant integer primary key references tenants (id),
    bytes integer not null
) strict;

-- only SQLite
-- Clips and snapshots by the event they were made for, and by their own id.
create index events_made_for on events (tenant, kind, json_extract(body, '$.event_id'), id) where kind in (5, 9);
create index events_of_media
    on events (tenant, kind, coalesce(json_extract(body, '$.clip_id'), json_extract(body, '$.snapshot_id')), id)
    where kind in (5, 9);
