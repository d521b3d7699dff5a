-- What a program of version 1 wrote: two tenants, their names and certificates, an event of each kind. Rows get their numbers
-- from the database: the first of each table is 1.

insert into tenants (tenant_id, name, created_at) values
    ('acme', 'Acme', 1795352700000),
    ('rival', 'Rival', 1795352700000);
insert into users (tenant, email, name, role, password_hash, token_generation, created_at) values
    (1, 'owner@acme.example', 'Owner', 'owner', '$argon2id$none', 3, 1795352700000),
    (1, 'viewer@acme.example', 'Viewer', 'viewer', '$argon2id$none', 0, 1795352700000),
    (2, 'owner@rival.example', 'Rival', 'owner', '$argon2id$none', 0, 1795352700000);
insert into edges (tenant, edge_id, name, created_at, secret_hash, enrolled_at, revoked_at, connected, generation, last_seen, version) values
    (1, 'edge_gate', 'Gate', 1795352700000, X'c974e17b8e7321ce8c12983de3d0ed4a289821f579bbe0925b0181a4bc8e8d80', 1795352700001, null, 1, 7, 1795352700009, '0.1.0'),
    (1, 'edge_yard', 'Yard', 1795352700000, null, 1795352700001, 1795352700005, 0, 2, 1795352700002, null),
    (2, 'edge_rival', 'Rival', 1795352700000, X'1db147fa22abae8a70c94152c9ec8cb82bdd0cc8135730a11879ae9dd7ad0375', null, null, 0, 0, null, null);
insert into operators (tenant, operator_id, name, created_at, not_after, revoked_at) values
    (1, 'op_guard', 'Guard', 1795352700000, 1805352700000, null);
insert into certificates (fingerprint, tenant, edge, operator, public_key_der, issued_at, not_after, revoked_at) values
    (X'd0f631ca1ddba8db3bcfcb9e057cdc98d0379f1bee00e75a545147a27dadd982', 1, 1, null, X'0102', 1795352700000, 1805352700000, null),
    (X'9c0abe51c6e6655d81de2d044d4fb194931f058c0426c67c7285d8f5657ed64a', 1, null, 1, X'0304', 1795352700000, 1805352700000, null);
insert into cameras (tenant, name) values
    (1, 'door'),
    (1, 'yard'),
    (2, 'door');
insert into zones (tenant, name) values
    (1, 'lobby');
insert into object_classes (tenant, name) values
    (1, 'person'),
    (1, 'car');
insert into outboxes (edge, name) values
    (1, 'outbox-1');
insert into quarantine (tenant, edge, outbox, seq, kind, received_at, payload, payload_hash, reason) values
    (1, 1, 1, 99, 1, 1795352700000, X'7B7D', X'8e35c2cd3bf6641bdb0e2050b76932cbb2e6034a0ddacc1d9bea82a6ba57f7cf', 'a newer version');

-- only SQLite
insert into events (feed_number, tenant, id, edge, outbox, seq, kind, camera, received_at, object_class, track, confidence, zone, event_type, body) values
    (1, 1, X'01a2035c284800000000000000000001', 1, 1, 1, 1, 1, 1795352720000, 1, 'track-1', 0.75, null, null, '{"camera_id":"door","timestamp":"2026-11-22T13:05:01.000Z","object_class":"person","confidence":0.75,"bbox":[1.0,2.0,30.5,40.0],"frame":{"width":640,"height":480},"track_id":"track-1","phase":"start","age_ms":400}'),
    (2, 1, X'01a2035c2c3000000000000000000002', 1, 1, 2, 1, 1, 1795352720000, 2, 'track-2', 0.75, null, null, '{"camera_id":"door","timestamp":"2026-11-22T13:05:02.000Z","object_class":"car","confidence":0.75,"bbox":[1.0,2.0,30.5,40.0],"frame":{"width":640,"height":480},"track_id":"track-2","phase":"start","age_ms":400}'),
    (3, 1, X'01a2035c301800000000000000000003', 1, 1, 3, 2, 1, 1795352720000, 1, 'track-1', 0.75, 1, 1, '{"camera_id":"door","zone_id":"lobby","timestamp":"2026-11-22T13:05:03.000Z","event_type":"enter","object_class":"person","confidence":0.75,"track_id":"track-1","bbox":[1.0,2.0,30.5,40.0],"frame":{"width":640,"height":480}}'),
    (4, 1, X'01a2035c340000000000000000000004', 1, 1, 4, 4, null, 1795352720000, null, null, null, null, null, '{"timestamp":"2026-11-22T13:05:04.000Z","version":"0.1.0","uptime_s":3600,"disk_total_bytes":1000000000,"disk_free_bytes":400000000,"cameras":[{"camera_id":"door","state":"streaming","since":"2026-11-22T13:05:00.000Z","detect_fps":5.0}],"outbox":{"entries":12,"bytes":8388608,"shed":0},"notices":[]}'),
    (5, 1, X'01a2035c37e800000000000000000005', 1, 1, 5, 3, 1, 1795352720000, null, null, null, null, null, '{"camera_id":"door","timestamp":"2026-11-22T13:05:05.000Z","alert_type":"camera_offline","severity":"warning","title":"Camera door sends no video"}'),
    (6, 1, X'01a2035c3bd000000000000000000006', 1, 1, 6, 5, 1, 1795352720000, null, null, null, null, null, '{"clip_id":"clip_1","camera_id":"door","start":"2026-11-22T13:05:01.000Z","duration_ms":15000,"size_bytes":5000,"event_id":"01M81NRA280000000000000001","missing_ms":0}'),
    (7, 1, X'01a2035c3fb800000000000000000007', 1, 1, 7, 9, 1, 1795352720000, null, null, null, null, null, '{"snapshot_id":"snap_1","camera_id":"door","timestamp":"2026-11-22T13:05:01.000Z","frame":{"width":1920,"height":1080},"size_bytes":4000,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","event_id":"01M81NRA280000000000000001","boxes":true}'),
    (8, 1, X'01a2035c43a000000000000000000008', 1, 1, 8, 10, 1, 1795352720000, null, null, null, null, null, '{"camera_id":"door","timestamp":"2026-11-22T13:05:08.000Z","event_type":"locked","lock_id":"case-12","start":"2026-11-22T13:05:00.000Z","end":"2026-11-22T13:15:00.000Z","reason":"theft"}');
-- both
