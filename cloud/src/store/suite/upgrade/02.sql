-- A file that is stored and one on its way.

insert into media (tenant, edge, kind, media_id, camera, size, sha256, content_type, captured_at, event_id, object, offered_at, stored_at) values
    (1, 1, 1, 'clip_1', 'door', 5000, '6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', 1, 1795352701000, X'01a2035c284800000000000000000001', 'acme/edge_gate/2026-11-22/clip_1.mp4', 1795352707000, 1795352708000),
    (1, 1, 2, 'snap_1', 'door', 4000, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 2, 1795352701000, null, 'acme/edge_gate/2026-11-22/snap_1.jpg', 1795352707000, null);
insert into media_totals (tenant, bytes) values
    (1, 9000);
