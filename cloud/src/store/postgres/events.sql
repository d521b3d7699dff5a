-- Events in PostgreSQL: the columns of the shared schema, in partitions by month.
--
-- The id is the ULID of the event's own time, so a month is a range of ids, and whatever bounds a list by time also
-- bounds the partitions it reads. A key of a partitioned table must hold what it is partitioned by: (tenant, id) does,
-- (edge, outbox, seq) does not and has a table of its own.

create table feed (
    -- There is one row.
    only_row bigint primary key check (only_row = 1),
    -- The newest feed number given out. Who raises it holds the row until its commit: batches of all processes come
    -- one after the other, and whoever sees a number sees every smaller one.
    head bigint not null
) with (fillfactor = 10);
insert into feed (only_row, head) values (1, 0);

create table event_places (
    -- An outbox belongs to one edge, so the edge is not needed here.
    outbox bigint not null,
    seq bigint not null,
    -- The event that has the place.
    id bytea not null,
    primary key (outbox, seq)
);

create table events (
    feed_number bigint not null,
    tenant bigint not null,
    edge bigint not null,
    outbox bigint not null,
    seq bigint not null,
    kind bigint not null,
    camera bigint,
    received_at bigint not null,
    object_class bigint,
    confidence double precision,
    zone bigint,
    event_type bigint,
    id bytea not null,
    track text collate "C",
    subject text collate "C",
    made_for text collate "C",
    body text collate "C" not null,
    unique (tenant, id)
) partition by range (id);
-- For times of which nobody made a month: a clock that is wrong by years.
create table events_default partition of events default;
create index events_by_kind on events (tenant, kind, id);
create index events_by_camera on events (tenant, camera, id);
create index events_by_feed on events (tenant, feed_number);
create index events_made_for on events (tenant, kind, made_for, id) where made_for is not null;
create index events_by_subject on events (tenant, kind, subject, id) where subject is not null;

-- Who deletes events gives their places back, as one table would.
create function forget_event_places() returns trigger language plpgsql as $$
begin
    delete from event_places p using gone g where p.outbox = g.outbox and p.seq = g.seq and p.id = g.id;
    return null;
end
$$;
create trigger events_forget_places after delete on events referencing old table as gone
    for each statement execute function forget_event_places();

-- Numbers of connections, rising over all processes.
create sequence connection_numbers;
