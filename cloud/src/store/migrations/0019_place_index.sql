-- Version 19: an index for the cameras of an edge, which is what people look at most.
--
-- By the camera's name alone, the cameras of all edges that have the same name are in question: each page looked at
-- thousands of events that lie far apart.

create index events_by_place on events (tenant, kind, edge, camera, id) where camera is not null;
