-- Version 13: live view over several processes.

-- Where other processes reach this one, host and port; null where they can't.
alter table processes add column address text;

-- The process that has the relay of an edge: whoever looks at it, and the edge's own WebSocket, are passed on to it. A
-- row of a process that is no more counts for nothing.
create table relay_homes (
    edge integer primary key references edges (id) on delete cascade,
    process text not null
) strict;
create index relay_homes_by_process on relay_homes (process);
