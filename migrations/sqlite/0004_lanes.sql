-- A stream's records may leave the log on two ways, its lanes: to the destination, and as they came to the backup. Each lane cuts its own
-- batches. Processing may leave nothing of a batch (`empty`), and puts what fails beside it, as error output: a row of its own, of the
-- same range, with the object that holds those records.
--
-- The Postgres schema beside this one says the same in Postgres' words; change both. SQLite cannot change a CHECK, so the tables are
-- made anew, and with them those that refer to them: while they do, dropping them would empty them.

-- How far each lane of each stream of a log is sealed. Kept when batches fall out of retention: it is what a log is compared with at start.
create table new_log_positions (
    log       text not null references logs,
    stream_id integer not null references streams,
    lane      text not null,
    -- Every record before this position is in a batch of the lane.
    sealed_to integer not null,
    primary key (log, stream_id, lane),
    constraint log_positions_lane_known check (lane in ('delivery', 'backup')),
    constraint log_positions_positive check (sealed_to > 0)
) strict;
insert into new_log_positions (log, stream_id, lane, sealed_to) select log, stream_id, 'delivery', sealed_to from log_positions;

-- A fixed range of one stream's records, which becomes one object.
--
--     sealed ─▶ uploaded ─▶ in_load ─▶ loaded          sealed ─▶ lost       (its log was retired before the upload)
--        ├────▶ delivered (S3 alone)  └─▶ parked       parked: waits for a person, with the reason; done again: uploaded
--        └────▶ empty (processing left nothing)        sealed, uploaded ─▶ discarded   (its stream is being deleted)
--     delivered: error output, from its beginning
create table new_batches (
    id              text primary key not null,
    -- The stream's name when it was sealed.
    stream          text not null,
    stream_id       integer not null,
    stream_version  integer not null,
    log             text not null,
    position_from   integer not null,
    -- The position after the last record.
    position_to     integer not null,
    records         integer not null generated always as (position_to - position_from) virtual,
    -- What of these records the object holds: all, but what failed (delivery); all, as they came (backup); those that failed so.
    content         text not null,
    -- On which way they left the log; error output was written beside a batch of the delivery.
    lane            text generated always as (case when content in ('delivery', 'backup') then content end) virtual,
    -- How many of the records are in error output.
    failed_records  integer,
    -- Of the records as they came. (Of error output: of its object, before compression.)
    bytes           integer not null,
    -- Of what processing makes of them, before compression, with what failed.
    processed_bytes integer not null,
    oldest_arrival  text not null,
    bucket          text not null,
    object_key      text not null,
    -- What COPY is to load it into; nothing where S3 is the destination.
    table_key       text,
    copy_target     text,
    state           text not null,
    -- The object as S3 answered for it.
    etag            text,
    object_bytes    integer,
    load_id         text references loads,
    reason          text,
    sealed_at       text not null,
    updated_at      text not null,
    constraint batches_range_once unique (log, stream_id, content, position_from),
    constraint batches_settings_exist foreign key (stream_id, stream_version)
        references stream_versions (stream_id, version),
    constraint batches_log_exists foreign key (log) references logs (id),
    -- Of error output, which has no lane, none is asked for.
    constraint batches_log_position_exists foreign key (log, stream_id, lane)
        references new_log_positions (log, stream_id, lane),
    constraint batches_range_not_empty check (0 <= position_from and position_from < position_to),
    constraint batches_bytes_positive check (bytes >= 0 and processed_bytes >= 0),
    constraint batches_content_known check (
        content in ('delivery', 'backup', 'decompression-failed', 'processing-failed')
    ),
    constraint batches_failed_fit check (
        (failed_records is not null) = (content not in ('delivery', 'backup'))
        and (failed_records is null or failed_records between 1 and position_to - position_from)
    ),
    constraint batches_state_known check (
        state in ('sealed', 'uploaded', 'delivered', 'in_load', 'loaded', 'parked', 'empty', 'lost', 'discarded')
    ),
    constraint batches_object_fits check (
        (etag is null) = (object_bytes is null)
        and case
            when state in ('sealed', 'empty', 'lost') then etag is null
            -- Before the upload, or while it waited for a load.
            when state = 'discarded' then true
            else etag is not null
        end
        and (object_bytes is null or object_bytes >= 0)
    ),
    constraint batches_load_fits check ((load_id is not null) = (state in ('in_load', 'loaded', 'parked'))),
    constraint batches_reason_fits check ((reason is not null) = (state = 'parked')),
    constraint batches_target_whole check ((table_key is null) = (copy_target is null)),
    constraint batches_target_json check (copy_target is null or json_valid(copy_target)),
    constraint batches_target_fits check (
        case
            when state = 'delivered' then copy_target is null
            when state in ('uploaded', 'in_load', 'loaded', 'parked') then copy_target is not null
            when state = 'discarded' and etag is not null then copy_target is not null
            else true
        end
    ),
    -- Only what goes to the destination is loaded, or left empty by processing; error output is there before its row is.
    constraint batches_content_fits check (
        case content
            when 'delivery' then true
            when 'backup' then copy_target is null and state <> 'empty'
            else copy_target is null and state = 'delivered'
        end
    )
) strict;
insert into new_batches (content, processed_bytes, id, stream, stream_id, stream_version, log, position_from, position_to, bytes, oldest_arrival, bucket, object_key,
    table_key, copy_target, state, etag, object_bytes, load_id, reason, sealed_at, updated_at)
    select 'delivery', bytes, id, stream, stream_id, stream_version, log, position_from, position_to, bytes, oldest_arrival, bucket, object_key,
    table_key, copy_target, state, etag, object_bytes, load_id, reason, sealed_at, updated_at from batches;

-- Which batches were in which load, in the manifest's order. A batch that is done again has been in several.
create table new_load_batches (
    load_id  text not null references loads on delete cascade,
    ordinal  integer not null,
    batch_id text not null references new_batches on delete cascade,
    primary key (load_id, ordinal),
    constraint load_batches_once unique (load_id, batch_id)
) strict;
insert into new_load_batches (load_id, ordinal, batch_id) select load_id, ordinal, batch_id from load_batches;

-- One try of one step, for people. Of equal failures in a row the first and the newest are kept; `times` says how many
-- the row stands for.
create table new_attempts (
    id         integer primary key autoincrement,
    batch_id   text references new_batches on delete cascade,
    load_id    text references loads on delete cascade,
    step       text not null,
    outcome    text not null,
    code       text,
    message    text,
    times      integer not null default 1,
    started_at text not null,
    ended_at   text not null,
    constraint attempts_one_subject check ((batch_id is null) <> (load_id is null)),
    constraint attempts_outcome_known check (outcome in ('ok', 'failed', 'unknown')),
    constraint attempts_times_positive check (times > 0)
) strict;
insert into new_attempts (id, batch_id, load_id, step, outcome, code, message, times, started_at, ended_at)
    select id, batch_id, load_id, step, outcome, code, message, times, started_at, ended_at from attempts;

drop table attempts;
drop table load_batches;
drop table batches;
drop table log_positions;
-- What refers to a table is changed with its name.
alter table new_log_positions rename to log_positions;
alter table new_batches rename to batches;
alter table new_load_batches rename to load_batches;
alter table new_attempts rename to attempts;

create index load_batches_by_batch on load_batches (batch_id);
create index attempts_by_batch on attempts (batch_id, id) where batch_id is not null;
create index attempts_by_load on attempts (load_id, id) where load_id is not null;
create index batches_by_stream on batches (stream, sealed_at desc);
create index batches_by_time on batches (sealed_at desc);
-- Rows that somebody has still to do something about are few among those that are kept for reading.
create index batches_open on batches (state, stream_id, oldest_arrival) where state not in ('delivered', 'loaded', 'empty', 'discarded');
create index batches_sealed on batches (log, stream_id, content, position_from) where state = 'sealed';
create index batches_done on batches (updated_at) where state in ('delivered', 'loaded', 'empty', 'discarded');
create index batches_by_load on batches (load_id) where load_id is not null;
-- For the sweep of old stream versions.
create index batches_by_version on batches (stream_id, stream_version);

-- The object's key derives from the batch, so what a batch holds and where it goes is fixed when it is sealed.
create trigger batches_never_change_what_they_hold
    before update of id, stream, stream_id, stream_version, log, position_from, position_to, content, failed_records, bytes,
        processed_bytes, oldest_arrival, bucket, object_key, table_key, copy_target, sealed_at on batches
begin
    select raise(abort, 'a batch never changes what it holds');
end;
-- Delivered once: nothing that is done is done again, and nothing that was thrown away comes back.
create trigger batches_stay_done before update of state on batches
    when old.state in ('delivered', 'loaded', 'empty', 'discarded') and new.state <> old.state
begin
    select raise(abort, 'what is delivered stays so');
end;
-- Nothing is thrown away of a stream that goes on.
create trigger batches_are_discarded_with_their_stream before update of state on batches
    when new.state = 'discarded' and old.state <> 'discarded'
        and (select status from streams where id = new.stream_id) <> 'deleting'
begin
    select raise(abort, 'a batch is discarded only while its stream is being deleted');
end;
