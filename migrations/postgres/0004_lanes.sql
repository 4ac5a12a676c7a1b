-- A stream's records may leave the log on two ways, its lanes: to the destination, and as they came to the backup. Each lane cuts its own
-- batches. Processing may leave nothing of a batch (`empty`), and puts what fails beside it, as error output: a row of its own, of the
-- same range, with the object that holds those records.
--
-- The SQLite schema beside this one says the same in SQLite's words; change both.
--
--     sealed ─▶ empty                                  processing left nothing of it
--     delivered                                        error output, from its beginning

alter table batches drop constraint batches_log_position_exists;
-- Every record before `sealed_to` is in a batch of the lane.
alter table log_positions
    add column lane text not null default 'delivery',
    drop constraint log_positions_pkey,
    add primary key (log, stream_id, lane),
    add constraint log_positions_lane_known check (lane in ('delivery', 'backup'));
-- What does not say on which lane it seals is a program that does not know of this.
alter table log_positions alter column lane drop default;

alter table batches
    -- What of its records the object holds: all, but what failed (delivery); all, as they came (backup); those that failed so.
    add column content         text not null default 'delivery',
    -- How many of the records are in error output.
    add column failed_records  bigint,
    -- Of what processing makes of the records, before compression, with what failed. (`bytes` are of the records as they came; of error
    -- output both are of its object, before compression.)
    add column processed_bytes bigint;
update batches set processed_bytes = bytes;
alter table batches
    alter column content drop default,
    alter column processed_bytes set not null,
    -- On which way the records left the log; error output was written beside a batch of the delivery.
    add column lane text generated always as (case when content in ('delivery', 'backup') then content end) stored,
    drop constraint batches_range_once,
    drop constraint batches_bytes_positive,
    drop constraint batches_state_known,
    drop constraint batches_object_fits;
alter table batches
    add constraint batches_range_once unique (log, stream_id, content, position_from),
    add constraint batches_log_exists foreign key (log) references logs,
    -- Of error output, which has no lane, none is asked for.
    add constraint batches_log_position_exists foreign key (log, stream_id, lane) references log_positions,
    add constraint batches_bytes_positive check (bytes >= 0 and processed_bytes >= 0),
    add constraint batches_content_known check (
        content in ('delivery', 'backup', 'decompression-failed', 'processing-failed')
    ),
    add constraint batches_failed_fit check (
        (failed_records is not null) = (content not in ('delivery', 'backup'))
        and (failed_records is null or failed_records between 1 and position_to - position_from)
    ),
    add constraint batches_state_known check (
        state in ('sealed', 'uploaded', 'delivered', 'in_load', 'loaded', 'parked', 'empty', 'lost', 'discarded')
    ),
    add constraint batches_object_fits check (
        (etag is null) = (object_bytes is null)
        and case
            when state in ('sealed', 'empty', 'lost') then etag is null
            -- Before the upload, or while it waited for a load.
            when state = 'discarded' then true
            else etag is not null
        end
        and (object_bytes is null or object_bytes >= 0)
    ),
    -- Only what goes to the destination is loaded, or left empty by processing; error output is there before its row is.
    add constraint batches_content_fits check (
        case content
            when 'delivery' then true
            when 'backup' then copy_target is null and state <> 'empty'
            else copy_target is null and state = 'delivered'
        end
    );

drop index batches_open;
drop index batches_sealed;
drop index batches_done;
-- Rows that somebody has still to do something about are few among those that are kept for reading.
create index batches_open on batches (state, stream_id, oldest_arrival)
    where state not in ('delivered', 'loaded', 'empty', 'discarded');
create index batches_sealed on batches (log, stream_id, content, position_from) where state = 'sealed';
create index batches_done on batches (updated_at) where state in ('delivered', 'loaded', 'empty', 'discarded');

-- The object's key derives from the batch, so what a batch holds and where it goes is fixed when it is sealed.
drop trigger batches_never_change_what_they_hold on batches;
create trigger batches_never_change_what_they_hold
    before update of id, stream, stream_id, stream_version, log, position_from, position_to, content, failed_records, bytes,
        processed_bytes, oldest_arrival, bucket, object_key, table_key, copy_target, sealed_at on batches
    for each row execute function refuse_change_of_batch();
-- Delivered once: nothing that is done is done again, and nothing that was thrown away comes back.
drop trigger batches_stay_done on batches;
create trigger batches_stay_done before update of state on batches
    for each row when (old.state in ('delivered', 'loaded', 'empty', 'discarded') and new.state <> old.state)
    execute function refuse_change_of_batch();
