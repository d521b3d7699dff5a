-- Version 3: what clips and snapshots are found by, as columns, so that no database needs to look into JSON.

-- only SQLite
-- The id of the clip or snapshot; null for other kinds.
alter table events add column subject text;
-- The event it was made for, as text; null for other kinds and without one.
alter table events add column made_for text;
update events
    set subject = coalesce(json_extract(body, '$.clip_id'), json_extract(body, '$.snapshot_id')),
        made_for = json_extract(body, '$.event_id')
    where kind in (5, 9);
drop index events_made_for;
drop index events_of_media;
create index events_made_for on events (tenant, kind, made_for, id) where made_for is not null;
create index events_by_subject on events (tenant, kind, subject, id) where subject is not null;
-- both

-- Processes of the cloud that are at work; an SQLite file has one.
create table processes (
    -- Drawn at random when the process starts.
    id text not null primary key,
    -- When it counts as dead unless it says something before, by the database's clock.
    alive_until integer not null
) strict;
-- The process that holds the session of a connected edge.
alter table edges add column process text;
create index edges_by_process on edges (process, id) where process is not null;
