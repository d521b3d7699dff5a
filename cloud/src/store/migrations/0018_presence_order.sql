-- Version 18: an index for a back-test, which walks over what was told of a tenant's edges in the order in which it was
-- told.

create index presence_events_in_order on presence_events (tenant, id);
