-- Channels, what people chose, and messages owed and sent.

insert into channels (tenant, channel_id, name, kind, target, least_severity, enabled, disabled_reason, secret, old_secret, old_secret_until, created_at) values
    (1, 'chn_01m81nr930000000000000000m', 'Guards', 1, '["guards@acme.example"]', 0, 1, null, null, null, null, 1795352700000),
    (1, 'chn_01m81nr931000000000000000n', 'Desk', 2, '{"url":"https://desk.example/hook"}', 1, 0, 'gone', X'1011', null, null, 1795352700000),
    (1, 'chn_01m81nr930000000000000000p', 'Owner', 3, '1', 0, 1, null, null, null, null, 1795352700000);
insert into notification_preferences (person, tenant, preferences) values
    (1, 1, '{"mail":true,"push":false,"least_severity":"warning"}');
insert into push_subscriptions (tenant, person, subscription_id, endpoint, p256dh, auth, label, created_at) values
    (1, 1, 'psh_01m81nr930000000000000000q', 'https://push.example/1', 'key', 'auth', 'Phone', 1795352700000);
insert into mail_refusals (tenant, address, refused_at) values
    (1, 'old@acme.example', 1795352700000);
insert into notification_defaults (id, webhook) values
    (1, 0);
insert into deliveries (tenant, delivery_id, alert, reason, step, means, receiver, channel, person, message, state, attempts, owed_at, due_at, give_up_at, finished_at, last_status, last_error) values
    (1, X'01a2035c30e000000000000000000018', X'01a2035c30180000000000000000000d', 'alert.raised', 0, 1, 'mail:guards@acme.example', null, null, '{"reason":"notification.test","tenant_id":"acme","tenant_name":"Acme","title":"A test","severity":"info","at":"2026-11-22T13:05:00.000Z"}', 2, 0, 1795352703200, 1795352703200, 1795452700000, 1795352703300, 250, null),
    (1, X'01a2035c38b000000000000000000019', null, 'notification.test', 0, 2, 'webhook:chn_01m81nr931000000000000000n', 'chn_01m81nr931000000000000000n', null, '{"reason":"notification.test","tenant_id":"acme","tenant_name":"Acme","title":"A test","severity":"info","at":"2026-11-22T13:05:00.000Z"}', 1, 1, 1795352705200, 1795352706000, 1795452700000, null, 500, '500 Internal Server Error');
insert into delivery_attempts (delivery, at, took_ms, status, error) values
    (1, 1795352703300, 80, 250, null),
    (2, 1795352705300, 120, 500, '500 Internal Server Error');
insert into receiver_turns (tenant, receiver, not_before, lease, failures) values
    (1, 'webhook:chn_01m81nr931000000000000000n', 1795352700000, 0, 1);
