-- Version 12: an index for each name that lists are filtered by.
--
-- A page of a list reads a range of one of them; what else is asked for is looked for in a bounded part of it
-- (`event_search.rs`), so that a page takes milliseconds whatever is asked and however much is stored.

drop index events_by_camera;
create index events_by_camera on events (tenant, kind, camera, id) where camera is not null;
create index events_by_edge on events (tenant, kind, edge, id);
create index events_by_class on events (tenant, kind, object_class, id) where object_class is not null;
create index events_by_zone on events (tenant, kind, zone, id) where zone is not null;
create index events_by_track on events (tenant, kind, track, id) where track is not null;
