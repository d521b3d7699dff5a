-- Version 9: counts of closed quarters of an hour, and how long a tenant keeps what.
--
-- A quarter is the number of quarters of an hour since 1970, in UTC: the hours and days of every time zone in use are
-- made of whole ones. A quarter's counts are true while it has no row in quarter_marks.

-- Quarters that are not counted, or have to be counted again. Whoever stores or deletes events of a quarter sees to
-- it, in the same transaction, that the quarter has a row here and that its count is not under way.
create table quarter_marks (
    tenant integer not null references tenants (id),
    quarter integer not null,
    -- When the count that is under way began; null while none is.
    counting_since integer,
    primary key (tenant, quarter)
) strict, without rowid;
create index quarter_marks_by_count on quarter_marks (counting_since, quarter);

-- Tenants whose events of earlier versions have not been marked yet; until then everything is counted from the events.
create table quarter_backlogs (
    tenant integer primary key references tenants (id),
    -- Quarters before this one have been marked.
    next_quarter integer not null
) strict;
insert into quarter_backlogs (tenant, next_quarter) select id, 0 from tenants;

-- Events and the bytes of their bodies, by kind.
create table quarter_events (
    tenant integer not null references tenants (id),
    quarter integer not null,
    -- As in events.
    kind integer not null,
    count integer not null,
    bytes integer not null,
    primary key (tenant, quarter, kind)
) strict, without rowid;

-- Detections of all cameras together: what most charts show.
create table quarter_classes (
    tenant integer not null references tenants (id),
    quarter integer not null,
    object_class integer not null,
    count integer not null,
    primary key (tenant, quarter, object_class)
) strict, without rowid;

-- Detections by camera.
create table quarter_cameras (
    tenant integer not null references tenants (id),
    edge integer not null,
    camera integer not null,
    quarter integer not null,
    object_class integer not null,
    count integer not null,
    primary key (tenant, edge, camera, quarter, object_class)
) strict, without rowid;
create index quarter_cameras_by_quarter on quarter_cameras (tenant, quarter);

-- What happened in zones.
create table quarter_zones (
    tenant integer not null references tenants (id),
    quarter integer not null,
    edge integer not null,
    camera integer not null,
    zone integer not null,
    object_class integer not null,
    -- `aivms_cloud_core::analytics::Tally` in JSON.
    tally text not null,
    primary key (tenant, quarter, edge, camera, zone, object_class)
) strict, without rowid;

create table retention_policies (
    tenant integer primary key references tenants (id),
    -- `aivms_cloud_core::retention::Policy` in JSON.
    policy text not null,
    changed_at integer not null
) strict;
