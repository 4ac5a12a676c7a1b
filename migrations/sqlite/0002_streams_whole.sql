-- A stream gets all that the API says about it: tags, encryption, the file that declares it. Each row also says at which
-- revision it last changed, so that a node reads what changed and not all there is.
--
-- The Postgres schema beside this one says the same in Postgres' words; change both.

-- The value of meta.streams_revision that came with the row's last change.
alter table streams add column revision integer not null default 0;
-- An object of texts.
alter table streams add column tags text not null default '{}'
    constraint streams_tags_fit check (case when json_valid(tags) then json_type(tags) = 'object' else false end);
-- As the program keeps it: the key in use (`current`), every data key that a record in some log may need, when it was changed.
-- Data keys are wrapped: nothing in here is a secret.
alter table streams add column encryption text not null default '{"current":null,"data_keys":[],"changed_at":[]}'
    constraint streams_encryption_fits check (
        case when not json_valid(encryption) then false
            when json_type(encryption, '$.data_keys') is not 'array' or json_type(encryption, '$.changed_at') is not 'array'
            then false
            -- What is encrypted from now on is encrypted with a key that is there.
            else json_type(encryption, '$.current') = 'null' or json_array_length(encryption, '$.data_keys') > 0
        end
    );
-- The file that declares the stream.
alter table streams add column declared_in text constraint streams_declared_in_not_empty check (declared_in <> '');

-- When the rows that are there changed is not known any more: they count as changed now, so that every node reads them once.
update meta set streams_revision = streams_revision + 1 where exists (select 1 from streams);
update streams set revision = (select streams_revision from meta);
create index streams_by_revision on streams (revision);

-- A change that no node could notice is refused. A program that does not know of this is refused too.
create trigger streams_changes_are_counted after update on streams
    when new.revision <> (select streams_revision from meta) or new.revision <= old.revision
begin
    select raise(abort, 'a change of a stream counts the revision and notes it');
end;
create trigger streams_additions_are_counted after insert on streams
    when new.revision <> (select streams_revision from meta)
begin
    select raise(abort, 'a change of a stream counts the revision and notes it');
end;
