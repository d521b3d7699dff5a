-- Version 4: commands, and the documents that edges should run and run.

create table commands (
    -- Row number; commands of an edge are sent in this order.
    id integer primary key,
    tenant integer not null references tenants (id),
    edge integer not null references edges (id),
    -- ULID of its making in lower case, the order of lists.
    command_id text not null,
    -- Name such as `request_clip`.
    command text not null,
    -- Arguments in JSON, checked before they were stored.
    payload text not null,
    -- The camera it is about; null when it concerns the whole edge.
    camera text,
    -- queued, sent, succeeded, failed, rejected, timed_out, expired or cancelled.
    state text not null,
    created_at integer not null,
    -- Who asked; null once that user is gone.
    created_by integer references users (id),
    -- The edge does not begin after this.
    expires_at integer not null,
    -- Until when the edge is told again.
    ask_until integer not null,
    -- When it is given up once it was sent.
    give_up_at integer not null,
    -- When it is given up as things stand: `expires_at` while queued, `give_up_at` once sent.
    due integer not null,
    -- When the edge was told first; null before.
    sent_at integer,
    -- When it ended: the answer's own time, or when it was given up or taken back; null before.
    ended_at integer,
    -- Why it ended so, for a person.
    reason text,
    -- What the command returned, in JSON; null without an answer.
    data text,
    unique (edge, command_id)
) strict;
create index commands_by_edge on commands (tenant, edge, command_id);
-- What is still to be told or waited for: few rows of many.
create index commands_open on commands (edge, id) where ended_at is null;
create index commands_due on commands (due, id) where ended_at is null;

create table desired_documents (
    edge integer not null references edges (id),
    -- Counts up from 1 with each change.
    version integer not null,
    tenant integer not null references tenants (id),
    -- The document in JSON as the edge gets it, passwords of cameras included.
    document text not null,
    made_at integer not null,
    -- Who changed it; null once that user is gone.
    made_by integer references users (id),
    primary key (edge, version)
) strict;

-- What each edge said last of its desired document.
create table reported_states (
    edge integer primary key references edges (id),
    -- The version it answered last.
    version integer not null,
    -- The edge's clock.
    at integer not null,
    received_at integer not null,
    -- 1 when it runs that version.
    applied integer not null,
    -- Why it does not: the path of the wrong field and what is wrong; null when it does.
    field text,
    reason text,
    -- The version it runs; 0 for its local files.
    runs integer not null
) strict;
