-- Version 8: notifications.

-- Whom a tenant's alerts are told to, beside what people choose for themselves.
create table channels (
    id integer primary key autoincrement,
    tenant integer not null references tenants (id),
    -- `chn_` and a ULID in lower case.
    channel_id text not null,
    -- What people call it.
    name text not null,
    -- 1 mail, 2 webhook, 3 user.
    kind integer not null,
    -- Where to, in JSON: addresses, {"url"}, or the row of a user.
    target text not null,
    -- The least urgent alerts it gets: 0 info, 1 warning, 2 critical.
    least_severity integer not null,
    -- Whether anything is sent to it.
    enabled integer not null,
    -- Why it was switched off by the cloud itself.
    disabled_reason text,
    -- What messages are signed with, of a webhook: `whsec_…`, sealed.
    secret blob,
    -- The secret before, which signs too until that time.
    old_secret blob,
    old_secret_until integer,
    created_at integer not null,
    unique (tenant, channel_id)
) strict;

-- What people chose for themselves; defaults where there is no row.
create table notification_preferences (
    person integer primary key references users (id),
    tenant integer not null references tenants (id),
    -- `Preferences` of the program in JSON.
    preferences text not null
) strict;
create index notification_preferences_of on notification_preferences (tenant, person);

-- Browsers that take pushes.
create table push_subscriptions (
    id integer primary key autoincrement,
    tenant integer not null references tenants (id),
    person integer not null references users (id),
    -- `psh_` and a ULID in lower case.
    subscription_id text not null unique,
    -- Where its push service takes messages. A browser belongs to whoever subscribed it last.
    endpoint text not null unique,
    -- The browser's keys in base64url.
    p256dh text not null,
    auth text not null,
    -- What its owner calls it.
    label text not null,
    created_at integer not null
) strict;
create index push_subscriptions_of on push_subscriptions (tenant, person, id);

-- Addresses that want no mail of this tenant's channels and alerts any more.
create table mail_refusals (
    tenant integer not null references tenants (id),
    -- In lower case.
    address text not null,
    refused_at integer not null,
    primary key (tenant, address)
) strict;

-- What holds for every tenant, as the settings of the program say: one row.
create table notification_defaults (
    id integer primary key check (id = 1),
    -- Whether alerts go to the webhook of the settings.
    webhook integer not null
) strict;

-- Messages owed to receivers, and what became of them.
create table deliveries (
    id integer primary key autoincrement,
    tenant integer not null references tenants (id),
    -- A ULID as 16 bytes; its time is when it was owed.
    delivery_id blob not null,
    -- The alert, a ULID as 16 bytes; null for a test message.
    alert blob,
    -- `alert.raised`, `alert.escalated`, `notification.test` and so on.
    reason text not null,
    -- 0, or the step of the escalation.
    step integer not null,
    -- 1 mail, 2 webhook, 3 push.
    means integer not null,
    -- Who gets it: `mail:` and the address, `webhook:` and the channel's id, `push:` and the subscription's id.
    receiver text not null,
    -- The channel's id; null for what a person chose, and for the webhook of the settings.
    channel text,
    -- The user it is for, when it is for one.
    person integer,
    -- `Message` of the program in JSON.
    message text not null,
    -- 1 waiting, 2 delivered, 3 failed, 4 left out.
    state integer not null,
    -- Failed tries in a row.
    attempts integer not null,
    owed_at integer not null,
    -- When it is to be sent, or tried again.
    due_at integer not null,
    -- When it is given up.
    give_up_at integer not null,
    -- When it got its last state; null while waiting.
    finished_at integer,
    -- What the receiver answered last, and what went wrong.
    last_status integer,
    last_error text,
    unique (tenant, delivery_id)
) strict;
-- A receiver that is named twice is told once; the same may happen to an alert again, at another time.
create unique index deliveries_once on deliveries (tenant, alert, reason, step, receiver, owed_at);
create index deliveries_of_alert on deliveries (tenant, alert, delivery_id);
create index deliveries_of_channel on deliveries (tenant, channel, delivery_id);
create index deliveries_in_state on deliveries (tenant, state, delivery_id);
create index deliveries_due on deliveries (means, due_at) where state = 1;
create index deliveries_waiting on deliveries (tenant, receiver, due_at, id) where state = 1;
create index deliveries_done on deliveries (tenant, receiver, finished_at) where state = 2;
create index deliveries_old on deliveries (finished_at) where finished_at is not null;

-- Every try of a delivery.
create table delivery_attempts (
    id integer primary key autoincrement,
    delivery integer not null references deliveries (id),
    at integer not null,
    -- How long it took.
    took_ms integer not null,
    -- What the receiver answered; null when it did not.
    status integer,
    -- What went wrong; null when nothing did.
    error text
) strict;
create index delivery_attempts_of on delivery_attempts (delivery, id);

-- Whose turn it is to send to a receiver: one process at a time, so that messages keep their order and one receiver
-- has few connections. No row: anybody may.
create table receiver_turns (
    tenant integer not null references tenants (id),
    receiver text not null,
    -- Nobody else may take it before.
    not_before integer not null,
    -- The number of who has it; 0 for nobody, while it rests.
    lease integer not null,
    -- Calls in a row that got no answer.
    failures integer not null,
    primary key (tenant, receiver)
) strict;
