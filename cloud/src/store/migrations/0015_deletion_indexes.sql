-- Version 15: an index for each column that names a person, an edge or an outbox.
--
-- Whoever deletes a row that others refer to has the database look for them: without an index, through all tenants'
-- rows, for each row. A large cloud would stand still while a tenant is deleted.

create index alerts_by_acknowledger on alerts (acknowledged_by) where acknowledged_by is not null;
create index alerts_by_resolver on alerts (resolved_by) where resolved_by is not null;
create index alerts_by_assignee on alerts (assignee) where assignee is not null;
create index alerts_of_edge on alerts (edge);
create index incidents_of_edge on incidents (edge);
create index suppressed_alerts_of_edge on suppressed_alerts (edge);
create index presence_events_of_edge on presence_events (edge);
create index user_cameras_of_edge on user_cameras (edge);
create index alert_steps_by_person on alert_steps (person) where person is not null;
create index alert_rules_by_person on alert_rules (changed_by);
create index commands_by_person on commands (created_by) where created_by is not null;
create index desired_documents_by_person on desired_documents (made_by) where made_by is not null;
create index invitations_by_person on invitations (invited_by);
create index api_keys_by_person on api_keys (person);
create index provider_identities_by_person on provider_identities (person);
create index sign_in_codes_by_person on sign_in_codes (person);
create index push_subscriptions_by_person on push_subscriptions (person);
create index quarantine_by_outbox on quarantine (outbox);
