-- A stream that is deleted can throw away what is not delivered of it: its batches become `discarded`, which is final and is kept as
-- long as what is delivered.
--
-- The SQLite schema beside this one says the same in SQLite's words; change both.
--
--     sealed, uploaded ─▶ discarded                    its stream is being deleted, and what is left is thrown away

alter table batches
    drop constraint batches_state_known,
    drop constraint batches_object_fits,
    drop constraint batches_target_fits;
alter table batches
    add constraint batches_state_known check (
        state in ('sealed', 'uploaded', 'delivered', 'in_load', 'loaded', 'parked', 'lost', 'discarded')
    ),
    add constraint batches_object_fits check (
        (etag is null) = (object_bytes is null)
        and case
            when state in ('sealed', 'lost') then etag is null
            -- Before the upload, or while it waited for a load.
            when state = 'discarded' then true
            else etag is not null
        end
        and (object_bytes is null or object_bytes >= 0)
    ),
    add constraint batches_target_fits check (
        case
            when state = 'delivered' then copy_target is null
            when state in ('uploaded', 'in_load', 'loaded', 'parked') then copy_target is not null
            when state = 'discarded' and etag is not null then copy_target is not null
            else true
        end
    );

drop index batches_open;
drop index batches_done;
-- Rows that somebody has still to do something about are few among those that are kept for reading.
create index batches_open on batches (state, stream_id, oldest_arrival) where state not in ('delivered', 'loaded', 'discarded');
create index batches_done on batches (updated_at) where state in ('delivered', 'loaded', 'discarded');

-- Delivered once: nothing that is done is done again, and nothing that was thrown away comes back.
drop trigger batches_stay_done on batches;
create trigger batches_stay_done before update of state on batches
    for each row when (old.state in ('delivered', 'loaded', 'discarded') and new.state <> old.state)
    execute function refuse_change_of_batch();

-- Nothing is thrown away of a stream that goes on.
create function refuse_discard_of_batch() returns trigger language plpgsql as $$
begin
    if (select status from streams where id = new.stream_id) <> 'deleting' then
        raise exception 'a batch is discarded only while its stream is being deleted' using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger batches_are_discarded_with_their_stream before update of state on batches
    for each row when (new.state = 'discarded' and old.state <> 'discarded')
    execute function refuse_discard_of_batch();
