-- A stream gets all that the API says about it: tags, encryption, the file that declares it. Each row also says at which
-- revision it last changed, so that a node reads what changed and not all there is.
--
-- The SQLite schema beside this one says the same in SQLite's words; change both.

alter table streams
    -- The value of meta.streams_revision that came with the row's last change.
    add column revision    bigint,
    -- An object of texts.
    add column tags        jsonb not null default '{}',
    -- As the program keeps it: the key in use (`current`), every data key that a record in some log may need, when it was changed.
    -- Data keys are wrapped: nothing in here is a secret.
    add column encryption  jsonb not null default '{"current": null, "data_keys": [], "changed_at": []}',
    -- The file that declares the stream.
    add column declared_in text;

-- When the rows that are there changed is not known any more: they count as changed now, so that every node reads them once.
update meta set streams_revision = streams_revision + 1 where exists (select 1 from streams);
update streams set revision = (select streams_revision from meta);
-- What does not say at which revision it adds a stream is a program that does not know of this.
alter table streams alter column revision set not null;
alter table streams
    add constraint streams_tags_fit check (jsonb_typeof(tags) = 'object'),
    add constraint streams_encryption_fits check (
        case when jsonb_typeof(encryption -> 'data_keys') = 'array' and jsonb_typeof(encryption -> 'changed_at') = 'array'
            -- What is encrypted from now on is encrypted with a key that is there.
            then encryption -> 'current' = 'null' or jsonb_array_length(encryption -> 'data_keys') > 0
            else false
        end
    ),
    add constraint streams_declared_in_not_empty check (declared_in <> '');
create index streams_by_revision on streams (revision);

-- A change that no node could notice is refused. The counter's row stays locked until the change is committed, so that
-- revisions appear in their order: who has seen one has seen all before it.
create function refuse_change_of_stream() returns trigger language plpgsql as $$
begin
    if new.revision <> (select streams_revision from meta) or (tg_op = 'UPDATE' and new.revision <= old.revision) then
        raise exception 'a change of a stream counts the revision and notes it' using errcode = 'restrict_violation';
    end if;
    return null;
end $$;
create trigger streams_changes_are_counted after insert or update on streams
    for each row execute function refuse_change_of_stream();
