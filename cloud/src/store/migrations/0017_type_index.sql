-- Version 17: an index for the type of what happened in a zone.
--
-- A type that a tenant has never seen made each page look for it at thousands of events that lie far apart.

create index events_by_type on events (tenant, kind, event_type, id) where event_type is not null;
