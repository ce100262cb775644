-- What segments ask of the log: who did what, how often.

-- The facts of one endpoint. By a hash of four bytes, since the index is written with every event: it costs half of what
-- one on the ids themselves does. Statements compare the id as well.
create index events_endpoint on events (hashtext(endpoint_id)) where endpoint_id is not null;

-- As the index that it replaces, with the endpoint and the dispatch: who did something within a time, or was sent a
-- campaign, is counted without reading the facts.
create index events_type_endpoints on events (application_id, type, occurred_at) include (endpoint_id, dispatch_id);
drop index events_application_id_type_occurred_at_idx;
