-- A rule, and what it raised and did not raise.

insert into rule_sets (tenant, version) values
    (1, X'0000000000000000000000000000004d');
insert into alert_rules (tenant, rule_id, version, body, created_at, changed_at, changed_by) values
    (1, X'01a2035c24610000000000000000000b', 2, '{"name":"Somebody in the lobby","kind":"zone","severity":"warning","zones":["lobby"]}', 1795352700000, 1795352700001, 1);
insert into rule_memories (tenant, rule_id, scope, body, touched_at) values
    (1, X'01a2035c24610000000000000000000b', 'edge_gate/door', '{}', 1795352700000);
insert into alert_feeds (tenant, head) values
    (1, 4);
insert into incidents (tenant, incident_id, edge, first_at, last_at, alerts) values
    (1, X'01a2035c30180000000000000000000c', 1, 1795352703000, 1795352705000, 2);
insert into alerts (tenant, alert_id, dedup_key, incident, rule_id, rule_name, kind, severity, state, edge, camera, zone, object_class, track, title, event, raised_at, open_since, acknowledged_at, acknowledged_by, resolved_at, resolved_by, assignee, why, targets, escalation, escalated, escalate_at, change_number) values
    (1, X'01a2035c30180000000000000000000d', 'event/01M81NRC0R0000000000000003', 1, X'01a2035c24610000000000000000000b', 'Somebody in the lobby', 'zone', 2, 3, 1, 'door', 'lobby', 'person', 'track-1', 'A person is in lobby', X'01a2035c301800000000000000000003', 1795352703100, 1795352703100, 1795352704000, 1, 1795352705000, 2, 4, '[{"gate":"kind","passed":true},{"gate":"zone","passed":true,"value":"lobby"}]', '[]', '[]', 0, null, 3),
    (1, X'01a2035c37e80000000000000000000e', 'event/01M81NRDZ80000000000000005', 1, X'01a2035c24610000000000000000000b', 'Camera offline', 'edge_alert', 2, 1, 1, 'door', null, null, null, 'Camera door sends no video', X'01a2035c37e800000000000000000005', 1795352705100, 1795352705100, null, null, null, null, null, '[]', '[]', '[]', 0, null, 4);
insert into alert_steps (tenant, alert, at, person, step, note) values
    (1, 1, 1795352703100, null, 'raised', null),
    (1, 1, 1795352704000, 1, 'acknowledged', null),
    (1, 1, 1795352705000, 2, 'resolved', 'nothing there'),
    (1, 2, 1795352705100, null, 'raised', null);
insert into suppressed_alerts (tenant, suppressed_id, rule_id, scope, gate, hour, edge, camera, first_at, last_at, times, title, event, why) values
    (1, X'01a2035c3bd00000000000000000000f', X'01a2035c24610000000000000000000b', 'edge_gate/door', 'cool_down', 498709, 1, 'door', 1795352706000, 1795352707000, 3, 'A person is in lobby', null, '[]');
