-- People: their rights, sessions, second factors, keys, and the ways in which they come in.
--
-- A row number never leaves the program: it would count the cloud's people. What others see are the random ids.
-- Secrets that were handed out (tokens, keys, codes) are kept as SHA-256; they are random, so there is nothing to
-- guess. Secrets that are needed again are sealed, see `Sealer` in the program.

-- `user_` and a ULID in lower case: sorts by the time of joining.
alter table users add column user_id text;
-- When signing in was switched off; null while it is on.
alter table users add column disabled_at integer;
-- When the user was removed; the row stays, because alerts and the audit log speak of it. Its address is then `#` and
-- the row number, so that it can join again.
alter table users add column removed_at integer;
-- 1 when it sees every camera, 0 when only those in user_cameras.
alter table users add column all_cameras integer not null default 1;
-- When it last signed in; null before.
alter table users add column last_sign_in integer;
update users set user_id = 'user_' || id;
create unique index users_by_user_id on users (user_id);
create index users_by_tenant on users (tenant, user_id);

-- Cameras that users may see who do not see all. The camera need not have shown itself yet.
create table user_cameras (
    person integer not null references users (id),
    edge integer not null references edges (id),
    -- Slug on its edge.
    camera text not null,
    primary key (person, edge, camera)
) strict;

-- What a tenant asks of those who sign in; no row means nothing special.
create table sign_in_settings (
    tenant integer primary key references tenants (id),
    -- 1 when everybody needs a second factor.
    second_factor_required integer not null default 0
) strict;

create table invitations (
    id integer primary key,
    -- `invitation_` and a ULID in lower case.
    invitation_id text not null unique,
    tenant integer not null references tenants (id),
    -- Address that may join, lower case.
    email text not null,
    role text not null,
    -- JSON: null for all cameras, or a list of [edge_id, camera_id].
    cameras text not null,
    -- SHA-256 of the token; null when it was used or withdrawn.
    token_hash blob unique,
    -- Who invited.
    invited_by integer not null references users (id),
    created_at integer not null,
    expires_at integer not null,
    -- When it was used; null before.
    accepted_at integer
) strict;
create index invitations_by_tenant on invitations (tenant, invitation_id);

-- Mails that reset a password. A user has at most one that counts.
create table password_resets (
    person integer primary key references users (id),
    -- SHA-256 of the token.
    token_hash blob not null unique,
    expires_at integer not null
) strict;

-- One row per sign-in.
create table sessions (
    id integer primary key,
    -- `session_` and a ULID in lower case.
    session_id text not null unique,
    person integer not null references users (id),
    -- How it began: password, invitation, provider or reset.
    method text not null,
    -- Where it was last used from.
    address text not null,
    -- What the client said it is, cut to 200 characters.
    agent text not null,
    created_at integer not null,
    -- Written at most every ten minutes.
    last_used_at integer not null,
    -- End of its life if it is not refreshed.
    ends_at integer not null,
    -- When it was ended; null while it lives.
    ended_at integer
) strict;
create index sessions_by_person on sessions (person, session_id);

-- Every refresh token of living sessions: the newest of each is good, an older one that comes again was stolen.
create table refresh_tokens (
    -- SHA-256 of the token.
    token_hash blob not null primary key,
    session integer not null references sessions (id),
    -- When it was exchanged for the next one; null for the newest.
    used_at integer
) strict;
create index refresh_tokens_by_session on refresh_tokens (session);

-- Authenticator apps.
create table second_factors (
    person integer primary key references users (id),
    -- The shared secret, sealed.
    secret blob not null,
    created_at integer not null,
    -- When a first code was shown; null before, and then it asks nobody for anything.
    confirmed_at integer,
    -- The last step of time whose code was used: no code counts twice.
    last_step integer
) strict;

create table recovery_codes (
    -- SHA-256 of the code.
    code_hash blob not null,
    person integer not null references users (id),
    -- When it was used; null while it is good.
    used_at integer,
    primary key (person, code_hash)
) strict;

create table api_keys (
    id integer primary key,
    -- `key_` and a ULID in lower case.
    key_id text not null unique,
    tenant integer not null references tenants (id),
    -- For whom it acts, with at most that person's rights.
    person integer not null references users (id),
    name text not null,
    -- Its own role; the lower one of the two counts.
    role text not null,
    -- JSON: null for all cameras, or a list of [edge_id, camera_id]; what both see counts.
    cameras text not null,
    -- SHA-256 of the key.
    key_hash blob not null unique,
    -- The last characters of the key, to tell keys apart.
    hint text not null,
    created_at integer not null,
    expires_at integer not null,
    -- Written at most every ten minutes; null before the first use.
    last_used_at integer,
    -- When it was withdrawn; null while it counts.
    revoked_at integer
) strict;
create index api_keys_by_tenant on api_keys (tenant, key_id);

-- Tries to sign in and the like, of all processes together.
create table tries (
    -- SHA-256 of what is counted, such as an address or an account.
    key_hash blob not null primary key,
    -- When its bucket is empty; the row may go then.
    empties_at integer not null
) strict;
create index tries_by_end on tries (empties_at);

-- Mail that is to be sent.
create table outgoing_mail (
    id integer primary key,
    recipient text not null,
    subject text not null,
    -- The body; emptied when it was sent or given up, because it may hold links that let people in.
    body_text text not null,
    body_html text,
    created_at integer not null,
    -- When the next try is due.
    due_at integer not null,
    -- After this it is of no use any more.
    expires_at integer not null,
    attempts integer not null default 0,
    -- Until when a process is sending it; null when none is.
    leased_until integer,
    sent_at integer,
    -- When it was given up.
    failed_at integer
) strict;
create index outgoing_mail_due on outgoing_mail (due_at, id) where sent_at is null and failed_at is null;

-- Sign-in through a provider of the tenant's own (OpenID Connect).
create table identity_providers (
    tenant integer primary key references tenants (id),
    issuer text not null,
    client_id text not null,
    -- Sealed.
    client_secret blob not null,
    -- JSON: list of domains whose addresses may come in, lower case.
    allowed_domains text not null,
    -- Role of those who come for the first time; null when only invited users may come in.
    default_role text,
    changed_at integer not null
) strict;

-- Who a user is at a provider.
create table provider_identities (
    tenant integer not null references tenants (id),
    issuer text not null,
    -- The provider's name for the person.
    subject text not null,
    person integer not null references users (id),
    created_at integer not null,
    primary key (tenant, issuer, subject)
) strict;

-- Sign-ins on their way through a provider.
create table provider_flows (
    -- SHA-256 of the state.
    state_hash blob not null primary key,
    tenant integer not null references tenants (id),
    -- SHA-256 of what the browser that began it keeps in a cookie.
    browser_hash blob not null,
    nonce text not null,
    -- Sealed.
    verifier blob not null,
    expires_at integer not null
) strict;

-- Codes that a browser exchanges for tokens after it came back from a provider.
create table sign_in_codes (
    -- SHA-256 of the code.
    code_hash blob not null primary key,
    person integer not null references users (id),
    expires_at integer not null
) strict;
