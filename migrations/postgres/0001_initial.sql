-- The metastore: what happened to every record that was acknowledged, for programs and for people.
--
--     select * from batches where stream = 'clicks' order by sealed_at desc;
--     select * from loads where state = 'abandoned';
--
-- The tables defend themselves: what a state means is tied to its columns by CHECKs, so that a defect of a program is
-- refused here rather than believed later. Times of states come from the node that made the change; times of leases
-- come from this database's clock only. JSON is used where a value is kept and echoed (settings), never for a state.
--
-- Postgres 15 or later. The SQLite schema beside this one says the same in SQLite's words; change both.

-- One row: which metastore this is. A wiped database is another metastore, and a record log notices (it remembers the id).
create table meta (
    only_row         boolean primary key default true,
    metastore_id     uuid not null default gen_random_uuid(),
    created_at       timestamptz not null default now(),
    -- Grows with every change to any stream; nodes compare it to notice each other's changes.
    streams_revision bigint not null default 0,
    -- Stream ids are counted here and not by a sequence, so that an imported stream moves the count on in the same
    -- transaction, and an id is never given twice.
    stream_id_last   bigint not null default 0,
    constraint meta_one_row check (only_row)
);
insert into meta default values;

-- Streams, also those that are gone: batches keep referring to them. A name is free again once its stream is removed.
create table streams (
    id          bigint primary key,
    name        text not null,
    status      text not null,
    -- The settings in force, in stream_versions.
    version     bigint not null,
    created_at  timestamptz not null,
    -- When the settings last changed.
    updated_at  timestamptz,
    deleting_at timestamptz,
    removed_at  timestamptz,
    constraint streams_id_positive check (id > 0),
    constraint streams_name_legal check (name ~ '^[a-zA-Z0-9_.-]{1,64}$'),
    constraint streams_status_known check (status in ('active', 'deleting', 'removed')),
    constraint streams_deleting_at_fits check ((deleting_at is not null) = (status <> 'active')),
    constraint streams_removed_at_fits check ((removed_at is not null) = (status = 'removed'))
);
create unique index streams_name on streams (name) where status <> 'removed';

-- Settings never change: a change makes a new version, and a batch is delivered with those it was sealed under.
create table stream_versions (
    stream_id   bigint not null references streams,
    version     bigint not null,
    destination jsonb not null,
    created_at  timestamptz not null,
    primary key (stream_id, version),
    constraint stream_versions_positive check (version > 0)
);
alter table streams add constraint streams_version_exists
    foreign key (id, version) references stream_versions deferrable initially deferred;

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'stream versions never change: make a new one' using errcode = 'restrict_violation';
end $$;
create trigger stream_versions_never_change before update on stream_versions
    for each row execute function refuse_change();

-- Record logs, one per node and disk.
create table logs (
    id            uuid primary key,
    -- Host and directory, for people.
    node          text not null,
    registered_at timestamptz not null,
    -- A person said that this log is gone for good; nothing can be sealed from it any more.
    retired_at    timestamptz
);

-- How far each stream of a log is sealed. Kept when batches fall out of retention: it is what a log is compared with at start.
create table log_positions (
    log       uuid not null references logs,
    stream_id bigint not null references streams,
    -- Every record before this position is in a batch.
    sealed_to bigint not null,
    primary key (log, stream_id),
    constraint log_positions_positive check (sealed_to > 0)
);

-- The right to work on something until a time of this database's clock. The epoch grows with every holder and fences
-- the former one; it is kept when nobody holds the lease.
create table leases (
    resource    text primary key,
    owner       text,
    epoch       bigint not null,
    acquired_at timestamptz,
    expires_at  timestamptz,
    constraint leases_epoch_positive check (epoch > 0),
    constraint leases_held_or_free check (
        (owner is null) = (acquired_at is null) and (owner is null) = (expires_at is null)
    )
);

-- What one COPY takes together.
create table loads (
    id                  uuid primary key,
    stream              text not null,
    stream_id           bigint not null references streams,
    -- Region, warehouse, database and table: one COPY at a time runs for each of these.
    table_key           text not null,
    copy_target         jsonb not null,
    bucket              text not null,
    manifest_key        text not null,
    state               text not null,
    attempt             bigint not null,
    -- The Data API's ClientToken of this attempt, while its outcome is open.
    token               text,
    -- A planned attempt is not submitted before.
    not_before          timestamptz,
    -- The Data API's id of the newest statement.
    statement           text,
    -- Rows that COPY reported, where it did.
    rows                bigint,
    errors_manifest_key text,
    code                text,
    reason              text,
    planned_at          timestamptz not null,
    first_submitted_at  timestamptz,
    -- Milliseconds since then in which the warehouse could not be reached; they do not count against the retries.
    unreachable_ms      bigint not null default 0,
    updated_at          timestamptz not null,
    constraint loads_state_known check (state in ('planned', 'submitted', 'committed', 'abandoned')),
    constraint loads_attempt_positive check (attempt > 0),
    constraint loads_unreachable_positive check (unreachable_ms >= 0),
    constraint loads_token_fits check ((token is not null) = (state in ('planned', 'submitted'))),
    constraint loads_not_before_fits check ((not_before is not null) = (state = 'planned')),
    constraint loads_statement_fits check (
        case state when 'planned' then statement is null when 'submitted' then statement is not null else true end
    ),
    constraint loads_submitted_fits check (state <> 'submitted' or first_submitted_at is not null),
    constraint loads_rows_fit check (rows is null or (state = 'committed' and rows >= 0)),
    constraint loads_failure_fits check (
        (errors_manifest_key is not null) = (state = 'abandoned')
        and (code is not null) = (state = 'abandoned')
        and (reason is not null) = (state = 'abandoned')
    )
);
create index loads_by_stream on loads (stream, planned_at desc);
create index loads_by_time on loads (planned_at desc);
create index loads_unfinished on loads (planned_at) where state in ('planned', 'submitted');
-- One COPY at a time per table.
create unique index loads_one_at_a_time on loads (table_key) where state in ('planned', 'submitted');
create index loads_done on loads (updated_at) where state in ('committed', 'abandoned');

create function refuse_change_of_load() returns trigger language plpgsql as $$
begin
    raise exception 'a load that has ended stays so: what is done again is another load' using errcode = 'restrict_violation';
end $$;
create trigger loads_stay_ended before update of state on loads
    for each row when (old.state in ('committed', 'abandoned') and new.state <> old.state)
    execute function refuse_change_of_load();

-- A fixed range of one stream's records, which becomes one object.
--
--     sealed ─▶ uploaded ─▶ in_load ─▶ loaded          sealed ─▶ lost       (its log was retired before the upload)
--        └────▶ delivered (S3 alone)  └─▶ parked       parked: waits for a person, with the reason; done again: uploaded
create table batches (
    id             uuid primary key,
    -- The stream's name when it was sealed.
    stream         text not null,
    stream_id      bigint not null,
    stream_version bigint not null,
    log            uuid not null,
    position_from  bigint not null,
    -- The position after the last record.
    position_to    bigint not null,
    records        bigint not null generated always as (position_to - position_from) stored,
    -- Of the records, before compression.
    bytes          bigint not null,
    oldest_arrival timestamptz not null,
    bucket         text not null,
    object_key     text not null,
    -- What COPY is to load it into; nothing where S3 is the destination.
    table_key      text,
    copy_target    jsonb,
    state          text not null,
    -- The object as S3 answered for it.
    etag           text,
    object_bytes   bigint,
    load_id        uuid references loads,
    reason         text,
    sealed_at      timestamptz not null,
    updated_at     timestamptz not null,
    constraint batches_range_once unique (log, stream_id, position_from),
    constraint batches_settings_exist foreign key (stream_id, stream_version) references stream_versions,
    constraint batches_log_position_exists foreign key (log, stream_id) references log_positions,
    constraint batches_range_not_empty check (0 <= position_from and position_from < position_to),
    constraint batches_bytes_positive check (bytes >= 0),
    constraint batches_state_known check (
        state in ('sealed', 'uploaded', 'delivered', 'in_load', 'loaded', 'parked', 'lost')
    ),
    constraint batches_object_fits check (
        (etag is not null) = (state not in ('sealed', 'lost'))
        and (object_bytes is not null) = (state not in ('sealed', 'lost'))
        and (object_bytes is null or object_bytes >= 0)
    ),
    constraint batches_load_fits check ((load_id is not null) = (state in ('in_load', 'loaded', 'parked'))),
    constraint batches_reason_fits check ((reason is not null) = (state = 'parked')),
    constraint batches_target_whole check ((table_key is null) = (copy_target is null)),
    constraint batches_target_fits check (
        case
            when state = 'delivered' then copy_target is null
            when state in ('uploaded', 'in_load', 'loaded', 'parked') then copy_target is not null
            else true
        end
    )
);
create index batches_by_stream on batches (stream, sealed_at desc);
create index batches_by_time on batches (sealed_at desc);
-- Rows that somebody has still to do something about are few among those that are kept for reading.
create index batches_open on batches (state, stream_id, oldest_arrival) where state not in ('delivered', 'loaded');
create index batches_sealed on batches (log, stream_id, position_from) where state = 'sealed';
create index batches_done on batches (updated_at) where state in ('delivered', 'loaded');
create index batches_by_load on batches (load_id) where load_id is not null;
-- For the sweep of old stream versions.
create index batches_by_version on batches (stream_id, stream_version);

create function refuse_change_of_batch() returns trigger language plpgsql as $$
begin
    raise exception 'a batch never changes what it holds, and what is delivered stays so' using errcode = 'restrict_violation';
end $$;
-- The object's key derives from the batch, so what a batch holds and where it goes is fixed when it is sealed.
create trigger batches_never_change_what_they_hold
    before update of id, stream, stream_id, stream_version, log, position_from, position_to, bytes, oldest_arrival, bucket,
        object_key, table_key, copy_target, sealed_at on batches
    for each row execute function refuse_change_of_batch();
-- Delivered once: nothing that is done is done again.
create trigger batches_stay_done before update of state on batches
    for each row when (old.state in ('delivered', 'loaded') and new.state <> old.state)
    execute function refuse_change_of_batch();

-- Which batches were in which load, in the manifest's order. A batch that is done again has been in several.
create table load_batches (
    load_id  uuid not null references loads on delete cascade,
    ordinal  bigint not null,
    batch_id uuid not null references batches on delete cascade,
    primary key (load_id, ordinal),
    constraint load_batches_once unique (load_id, batch_id)
);
create index load_batches_by_batch on load_batches (batch_id);

-- One try of one step, for people. Of equal failures in a row the first and the newest are kept; `times` says how many
-- the row stands for.
create table attempts (
    id         bigint generated always as identity primary key,
    batch_id   uuid references batches on delete cascade,
    load_id    uuid references loads on delete cascade,
    step       text not null,
    outcome    text not null,
    code       text,
    message    text,
    times      bigint not null default 1,
    started_at timestamptz not null,
    ended_at   timestamptz not null,
    constraint attempts_one_subject check ((batch_id is null) <> (load_id is null)),
    constraint attempts_outcome_known check (outcome in ('ok', 'failed', 'unknown')),
    constraint attempts_times_positive check (times > 0)
);
create index attempts_by_batch on attempts (batch_id, id) where batch_id is not null;
create index attempts_by_load on attempts (load_id, id) where load_id is not null;
