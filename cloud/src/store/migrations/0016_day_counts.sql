-- Version 16: the counts of a day's quarters lie in one row for each place, so that a month of a large tenant is read
-- in thousands of rows in place of hundreds of thousands.
--
-- A day is the number of days since 1970, in UTC. `counts` is a JSON list: its n-th item is the count of the day's n-th
-- quarter, and nothing follows the last quarter that has one. Which quarters are true is as before: those without a
-- row in quarter_marks.

drop table quarter_classes;
drop table quarter_cameras;
drop table quarter_zones;

-- Detections of all cameras together: what most charts show.
create table day_classes (
    tenant integer not null references tenants (id),
    day integer not null,
    object_class integer not null,
    counts text not null,
    primary key (tenant, day, object_class)
) strict, without rowid;

-- Detections by camera.
create table day_cameras (
    tenant integer not null references tenants (id),
    day integer not null,
    edge integer not null,
    camera integer not null,
    object_class integer not null,
    counts text not null,
    primary key (tenant, day, edge, camera, object_class)
) strict, without rowid;

-- What happened in zones. The items of `counts` are `aivms_cloud_core::analytics::Tally`.
create table day_zones (
    tenant integer not null references tenants (id),
    day integer not null,
    edge integer not null,
    camera integer not null,
    zone integer not null,
    object_class integer not null,
    counts text not null,
    primary key (tenant, day, edge, camera, zone, object_class)
) strict, without rowid;

-- All events are counted anew, in the background.
delete from quarter_backlogs;
insert into quarter_backlogs (tenant, next_quarter) select id, 0 from tenants;
