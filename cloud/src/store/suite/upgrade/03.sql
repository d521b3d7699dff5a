-- A process with an edge, and events with what they are found by.

insert into processes (id, alive_until) values
    ('00000000000000000000000000000005', 1795352700000);
update edges set process = '00000000000000000000000000000005' where edge_id = 'edge_gate';
insert into events (feed_number, tenant, id, edge, outbox, seq, kind, camera, received_at, object_class, track, confidence, zone, event_type, body, subject, made_for) values
    (9, 1, X'01a2035c478800000000000000000009', 1, 1, 9, 1, 1, 1795352720000, 1, 'track-3', 0.5, null, null, '{"camera_id":"door","timestamp":"2026-11-22T13:05:09.000Z","object_class":"person","confidence":0.5,"bbox":[1.0,2.0,30.5,40.0],"frame":{"width":640,"height":480},"track_id":"track-3","phase":"start","age_ms":400}', null, null),
    (10, 1, X'01a2035c4b700000000000000000000a', 1, 1, 10, 5, 1, 1795352720000, null, null, null, null, null, '{"clip_id":"clip_2","camera_id":"door","start":"2026-11-22T13:05:09.000Z","duration_ms":15000,"size_bytes":5000,"event_id":"01M81NRHW80000000000000009","missing_ms":0}', 'clip_2', '01M81NRHW80000000000000009');
