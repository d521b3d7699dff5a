-- Version 11: operations.

-- One row that is written to see whether the database can be written: a full or read-only disk still answers reads.
create table write_probe (
    -- Always 1.
    id integer primary key,
    -- When somebody last asked.
    tried_at integer not null
) strict;
