-- Version 14: exports and deletion of tenants, and locks of files.

-- When the deletion was asked for; null while nobody wants it.
alter table tenants add column deletion_asked_at integer;
-- Address of who asked; emptied with the tenant.
alter table tenants add column deletion_asked_by text;
-- When it begins unless it is called off before.
alter table tenants add column deletion_due_at integer;
-- When it began: nobody and nothing of the tenant comes in any more, and there is no way back.
alter table tenants add column closed_at integer;
-- When everything was found to be gone. A last look follows; the row stays so that its number is never used again, and
-- its tenant_id is then `#` and that number.
alter table tenants add column emptied_at integer;
-- Until when a process works on the deletion; null when none does.
alter table tenants add column deletion_leased_until integer;
create index tenants_to_delete on tenants (deletion_due_at) where deletion_due_at is not null;

create table tenant_exports (
    id integer primary key autoincrement,
    tenant integer not null references tenants (id),
    -- `export_` and a ULID in lower case.
    export_id text not null unique,
    -- 1 when files of clips and snapshots are in it.
    include_media integer not null,
    -- waiting, running, finished, failed or expired.
    state text not null,
    asked_at integer not null,
    -- Address of who asked.
    asked_by text not null,
    -- Tries that were begun.
    attempts integer not null default 0,
    -- The process that works on it, drawn anew for each try, and until when; while it waits, not before.
    lease text,
    leased_until integer,
    started_at integer,
    finished_at integer,
    -- When the archive is deleted.
    expires_at integer,
    -- What is written at the moment, such as events.
    step text,
    -- Lines and bytes written.
    lines integer not null default 0,
    bytes integer not null default 0,
    -- Files written, and how many there are.
    files integer not null default 0,
    files_of integer not null default 0,
    -- Its place in the folder or bucket; null once nothing is there.
    object text,
    -- SHA-256 of the archive in hexadecimal, once it is finished.
    sha256 text,
    -- Why it failed, for a person.
    error text
) strict;
create index tenant_exports_of on tenant_exports (tenant, export_id);
create index tenant_exports_open on tenant_exports (leased_until) where state in ('waiting', 'running');

-- Since when retention leaves the file and what tells of it; null when it does not.
alter table media add column locked_at integer;
-- Address of who locked it, and why.
alter table media add column locked_by text;
alter table media add column lock_reason text;
create index media_locked on media (tenant, kind, media_id) where locked_at is not null;

-- What refers to alerts and incidents, for when those are deleted.
create index alert_steps_of on alert_steps (alert);
create index alerts_of_incident on alerts (incident);
