-- What the ingest needs to write the events of endpoints that exist in one statement.

-- Keeps an application from being deleted until the transaction ends, and answers whether it exists. A lock of its own,
-- not one on the row: many share it without writing anything, and a deletion gets its turn. The look is a statement of
-- its own, so that it sees a deletion that the lock waited for.
create function hold_application(application_id text) returns boolean language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('application ' || application_id, 0));
  return exists (select from applications where id = application_id);
end $$;

-- Takes the statement that it stands in back, unless the condition holds: others came between what was read and what is
-- written.
create function require_unchanged(holds boolean) returns void language plpgsql as $$
begin
  if holds is not true then
    raise 'others changed meanwhile what this was based on' using errcode = 'serialization_failure';
  end if;
end $$;
