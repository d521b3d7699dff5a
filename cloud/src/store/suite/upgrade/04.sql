-- Commands and documents of an edge.

insert into commands (tenant, edge, command_id, command, payload, camera, state, created_at, created_by, expires_at, ask_until, give_up_at, due, sent_at, ended_at, reason, data) values
    (1, 1, '01m81nr9310000000000000001', 'request_clip', '{"camera_id":"door","start":"2026-11-22T13:05:00.000Z","duration_ms":15000}', 'door', 'succeeded', 1795352700001, 1, 1795352760000, 1795352760000, 1795352790000, 1795352790000, 1795352700002, 1795352700003, null, '{"clip_id":"clip_1"}'),
    (1, 1, '01m81nr9320000000000000002', 'snapshot', '{"camera_id":"door"}', 'door', 'queued', 1795352700002, 2, 1795352760000, 1795352760000, 1795352790000, 1795352760000, null, null, null, null);
insert into desired_documents (edge, version, tenant, document, made_at, made_by) values
    (1, 1, 1, '{"version":1,"cameras":[],"settings":{}}', 1795352700000, 1),
    (1, 2, 1, '{"version":2,"cameras":[],"settings":{}}', 1795352700005, 1);
insert into reported_states (edge, version, at, received_at, applied, field, reason, runs) values
    (1, 2, 1795352700006, 1795352700007, 1, null, null, 2);
