-- Presence, labels and health of an edge.

insert into edge_presence (edge, told, since, heard_since, take_overs, take_overs_since) values
    (1, 'online', 1795352700000, null, 0, null);
insert into presence_events (tenant, edge, event_id, kind, at, noted_at, detail) values
    (1, 1, X'01a2035c24c40000000000000000001f', 'online', 1795352700000, 1795352700100, null);
insert into edge_labels (edge, tenant, name, value) values
    (1, 1, 'site', 'north');
insert into edge_health (edge, at, received_at, report) values
    (1, 1795352704000, 1795352704100, '{"timestamp":"2026-11-22T13:05:04.000Z","version":"0.1.0","uptime_s":3600,"disk_total_bytes":1000000000,"disk_free_bytes":400000000,"cameras":[{"camera_id":"door","state":"streaming","since":"2026-11-22T13:05:00.000Z","detect_fps":5.0}],"outbox":{"entries":12,"bytes":8388608,"shed":0},"notices":[]}');
