-- What was counted of the quarter in which all the events lie; the one before is to be counted again.

delete from quarter_backlogs where tenant = 1;
insert into quarter_marks (tenant, quarter, counting_since) values
    (1, 1994835, null);
insert into quarter_events (tenant, quarter, kind, count, bytes) values
    (1, 1994836, 1, 3, 900),
    (1, 1994836, 2, 1, 300);
insert into quarter_classes (tenant, quarter, object_class, count) values
    (1, 1994836, 1, 2),
    (1, 1994836, 2, 1);
insert into quarter_cameras (tenant, edge, camera, quarter, object_class, count) values
    (1, 1, 1, 1994836, 1, 2),
    (1, 1, 1, 1994836, 2, 1);
insert into quarter_zones (tenant, quarter, edge, camera, zone, object_class, tally) values
    (1, 1994836, 1, 1, 1, 1, '{"enters":1}');
insert into retention_policies (tenant, policy, changed_at) values
    (1, '{"detections":30,"legal_hold":false}', 1795352700000);
