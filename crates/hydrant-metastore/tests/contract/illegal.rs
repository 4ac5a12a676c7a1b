//! Rows that cannot be. Each statement is tried on the rows of `schema::populate`, and breaks the one rule that it is listed with.

/// Statements with the CHECK that refuses them, in both databases.
pub(crate) const BROKEN_CHECKS: &[(&str, &str)] = &[
    ("meta_one_row", "insert into meta (only_row) values (OTHER_ROW)"),
    ("streams_id_positive", "update streams set id = 0 where id = 1"),
    ("streams_name_legal", "update streams set name = '' where id = 1"),
    ("streams_name_legal", "update streams set name = 'a b' where id = 1"),
    ("streams_name_legal", "update streams set name = 'ä' where id = 1"),
    ("streams_name_legal", "update streams set name = 'a/b' where id = 1"),
    ("streams_name_legal", "update streams set name = 'a\n' where id = 1"),
    (
        "streams_name_legal",
        "update streams set name = '0123456789012345678901234567890123456789012345678901234567890123x' where id = 1",
    ),
    ("streams_status_known", "update streams set status = 'paused', deleting_at = created_at where id = 1"),
    ("streams_deleting_at_fits", "update streams set status = 'deleting' where id = 1"),
    ("streams_deleting_at_fits", "update streams set deleting_at = created_at where id = 1"),
    ("streams_removed_at_fits", "update streams set removed_at = created_at where id = 1"),
    (
        "streams_removed_at_fits",
        "update streams set status = 'removed', deleting_at = created_at where id = 1",
    ),
    ("streams_tags_fit", "update streams set tags = '[]' where id = 1"),
    ("streams_tags_fit", "update streams set tags = 'null' where id = 1"),
    ("streams_encryption_fits", "update streams set encryption = '{}' where id = 1"),
    ("streams_encryption_fits", "update streams set encryption = '[]' where id = 1"),
    (
        "streams_encryption_fits",
        "update streams set encryption = '{\"current\": null, \"data_keys\": [], \"changed_at\": 7}' where id = 1",
    ),
    (
        "streams_encryption_fits",
        "update streams set encryption = '{\"current\": {\"key_arn\": null, \"data_key\": 1}, \"data_keys\": [], \"changed_at\": []}' where id = 1",
    ),
    ("streams_declared_in_not_empty", "update streams set declared_in = '' where id = 1"),
    (
        "stream_versions_positive",
        "insert into stream_versions select stream_id, 0, destination, created_at from stream_versions",
    ),
    (
        "log_positions_lane_known",
        "insert into log_positions (log, stream_id, lane, sealed_to) select log, stream_id, 'both', 5 from log_positions",
    ),
    ("log_positions_positive", "update log_positions set sealed_to = 0"),
    ("leases_epoch_positive", "update leases set epoch = 0"),
    ("leases_held_or_free", "update leases set owner = null"),
    ("leases_held_or_free", "update leases set acquired_at = null"),
    ("leases_held_or_free", "update leases set expires_at = null"),
    (
        "loads_state_known",
        "update loads set state = 'lost', token = null, not_before = null where state = 'planned'",
    ),
    ("loads_attempt_positive", "update loads set attempt = 0 where state = 'planned'"),
    ("loads_unreachable_positive", "update loads set unreachable_ms = -1 where state = 'planned'"),
    ("loads_token_fits", "update loads set token = null where state = 'planned'"),
    ("loads_token_fits", "update loads set token = 'token' where state = 'committed'"),
    ("loads_not_before_fits", "update loads set not_before = null where state = 'planned'"),
    ("loads_not_before_fits", "update loads set not_before = updated_at where state = 'committed'"),
    ("loads_statement_fits", "update loads set statement = 'id' where state = 'planned'"),
    (
        "loads_statement_fits",
        "update loads set state = 'submitted', not_before = null, first_submitted_at = updated_at where state = 'planned'",
    ),
    (
        "loads_submitted_fits",
        "update loads set state = 'submitted', not_before = null, statement = 'id' where state = 'planned'",
    ),
    ("loads_rows_fit", "update loads set rows = 1 where state = 'planned'"),
    ("loads_rows_fit", "update loads set rows = -1 where state = 'committed'"),
    ("loads_failure_fits", "update loads set errors_manifest_key = null where state = 'abandoned'"),
    ("loads_failure_fits", "update loads set code = null where state = 'abandoned'"),
    ("loads_failure_fits", "update loads set reason = null where state = 'abandoned'"),
    ("loads_failure_fits", "update loads set errors_manifest_key = 'key' where state = 'committed'"),
    ("loads_failure_fits", "update loads set code = 'code' where state = 'committed'"),
    ("loads_failure_fits", "update loads set reason = 'reason' where state = 'planned'"),
    ("batches_range_not_empty", "NEW_BATCH position_from = position_to"),
    ("batches_range_not_empty", "NEW_BATCH position_from = -1"),
    ("batches_bytes_positive", "NEW_BATCH bytes = -1"),
    ("batches_bytes_positive", "NEW_BATCH processed_bytes = -1"),
    ("batches_content_known", "NEW_ERROR_OUTPUT content = 'lost-failed'"),
    ("batches_failed_fit", "NEW_BATCH failed_records = 1"),
    ("batches_failed_fit", "NEW_ERROR_OUTPUT failed_records = null"),
    ("batches_failed_fit", "NEW_ERROR_OUTPUT failed_records = 0"),
    ("batches_failed_fit", "NEW_ERROR_OUTPUT failed_records = 11"),
    ("batches_content_fits", "NEW_BATCH content = 'backup', state = 'empty'"),
    ("batches_content_fits", "NEW_BATCH content = 'backup', table_key = 'table', copy_target = '{}'"),
    ("batches_content_fits", "NEW_ERROR_OUTPUT state = 'sealed', etag = null, object_bytes = null"),
    ("batches_content_fits", "NEW_ERROR_OUTPUT state = 'uploaded', table_key = 'table', copy_target = '{}'"),
    ("batches_target_whole", "NEW_BATCH table_key = 'table'"),
    ("batches_target_whole", "NEW_BATCH copy_target = '{}'"),
    ("batches_state_known", "update batches set state = 'sent' where state = 'uploaded'"),
    ("batches_object_fits", "update batches set etag = 'etag' where state = 'sealed'"),
    ("batches_object_fits", "update batches set object_bytes = 1 where state = 'lost'"),
    ("batches_object_fits", "update batches set etag = null where state = 'uploaded'"),
    ("batches_object_fits", "update batches set object_bytes = null where state = 'loaded'"),
    ("batches_object_fits", "update batches set object_bytes = -1 where state = 'uploaded'"),
    ("batches_object_fits", "update batches set state = 'delivered' where state = 'sealed'"),
    ("batches_object_fits", "update batches set etag = 'etag', object_bytes = 1 where state = 'empty'"),
    ("batches_object_fits", "update batches set state = 'empty' where state = 'uploaded'"),
    ("batches_object_fits", "update batches set etag = 'etag' where state = 'discarded'"),
    ("batches_object_fits", "update batches set object_bytes = 1 where state = 'discarded'"),
    ("batches_load_fits", "update batches set load_id = null where state = 'in_load'"),
    (
        "batches_load_fits",
        "update batches set load_id = (select id from loads limit 1) where state = 'discarded'",
    ),
    ("batches_load_fits", "update batches set load_id = null where state = 'loaded'"),
    ("batches_load_fits", "update batches set state = 'uploaded' where state = 'in_load'"),
    (
        "batches_load_fits",
        "update batches set load_id = (select id from loads limit 1) where state = 'uploaded'",
    ),
    ("batches_reason_fits", "update batches set reason = null where state = 'parked'"),
    ("batches_reason_fits", "update batches set reason = 'reason' where state = 'in_load'"),
    ("batches_reason_fits", "update batches set reason = 'reason' where state = 'discarded'"),
    ("batches_target_fits", "update batches set state = 'delivered' where state = 'uploaded'"),
    ("batches_target_fits", "update batches set etag = 'etag', object_bytes = 1 where state = 'discarded'"),
    (
        "batches_target_fits",
        "update batches set state = 'uploaded', etag = 'etag', object_bytes = 1 where state = 'sealed'",
    ),
    ("attempts_one_subject", "update attempts set batch_id = null"),
    ("attempts_one_subject", "update attempts set load_id = (select id from loads limit 1)"),
    ("attempts_outcome_known", "update attempts set outcome = 'maybe'"),
    ("attempts_times_positive", "update attempts set times = 0"),
];

/// SQLite has no type for JSON, so these are CHECKs there.
pub(crate) const BROKEN_JSON: &[(&str, &str)] = &[
    ("streams_tags_fit", "update streams set tags = 'no json'"),
    ("streams_encryption_fits", "update streams set encryption = 'no json'"),
    (
        "stream_versions_json",
        "insert into stream_versions select stream_id, 7, 'no json', created_at from stream_versions",
    ),
    ("loads_target_json", "update loads set copy_target = 'no json'"),
    ("batches_target_json", "NEW_BATCH copy_target = 'no json', table_key = 'table'"),
];

/// Statements that break a reference or a key.
pub(crate) const BROKEN_REFERENCES: &[(&str, &str)] = &[
    (
        "two streams of one name",
        "insert into streams (id, name, status, version, created_at, revision) \
         select 9, name, status, version, s.created_at, streams_revision from streams s, meta where id = 1",
    ),
    (
        "a stream of a version that is not there",
        "update meta set streams_revision = streams_revision + 1; \
         update streams set version = 2, revision = (select streams_revision from meta)",
    ),
    (
        "a version of no stream",
        "insert into stream_versions select 9, version, destination, created_at from stream_versions where stream_id = 1",
    ),
    (
        "a version twice",
        "insert into stream_versions select stream_id, version, destination, created_at from stream_versions",
    ),
    ("no version that is in use", "delete from stream_versions"),
    ("no stream that is referred to", "delete from streams"),
    ("no log that is referred to", "delete from logs"),
    ("no position that is referred to", "delete from log_positions"),
    (
        "a position in no log",
        "insert into log_positions (log, stream_id, lane, sealed_to) values (UNKNOWN_ID, 1, 'delivery', 5)",
    ),
    (
        "a position of no stream",
        "insert into log_positions (log, stream_id, lane, sealed_to) select log, 9, 'delivery', 5 from log_positions where stream_id = 1",
    ),
    (
        "a position twice",
        "insert into log_positions (log, stream_id, lane, sealed_to) select log, stream_id, lane, 5 from log_positions",
    ),
    (
        "a range twice",
        "NEW_BATCH position_from = (select min(position_from) from batches where state = 'sealed')",
    ),
    ("error output of a range twice", "NEW_ERROR_OUTPUT position_from = 40, position_to = 50"),
    ("a batch of no log", "NEW_BATCH log = UNKNOWN_ID"),
    ("error output of no log", "NEW_ERROR_OUTPUT log = UNKNOWN_ID"),
    ("a batch of a lane that is not sealed", "NEW_BATCH content = 'backup'"),
    ("a batch of settings that are not there", "NEW_BATCH stream_version = 7"),
    ("a batch in no load", "update batches set load_id = UNKNOWN_ID where state = 'in_load'"),
    ("no load that is under way", "delete from loads where state = 'planned'"),
    (
        "two loads of one table at once",
        "insert into loads (id, stream, stream_id, table_key, copy_target, bucket, manifest_key, state, attempt, token, not_before, planned_at, updated_at) \
         select UNKNOWN_ID, stream, stream_id, table_key, copy_target, bucket, manifest_key, state, attempt, token, not_before, planned_at, updated_at \
         from loads where state = 'planned'",
    ),
    (
        "a batch twice in a load",
        "insert into load_batches select load_id, ordinal + 1, batch_id from load_batches",
    ),
    (
        "two batches at one place of a load",
        "insert into load_batches select load_id, ordinal, (select id from batches where state = 'sealed') from load_batches",
    ),
    (
        "a load of a batch that is not there",
        "insert into load_batches select load_id, ordinal + 1, UNKNOWN_ID from load_batches",
    ),
    ("an attempt of a batch that is not there", "update attempts set batch_id = UNKNOWN_ID"),
    ("a lease twice", "insert into leases (resource, epoch) select resource, epoch from leases"),
    ("a second metastore", "insert into meta (only_row) select only_row from meta"),
];

/// Statements that change what is fixed, with the words of the trigger that refuses them.
pub(crate) const BROKEN_PROMISES: &[(&str, &str)] = &[
    ("stream versions never change", "update stream_versions set destination = '{}'"),
    ("stream versions never change", "update stream_versions set version = version + 1"),
    ("counts the revision", "update streams set deleting_at = created_at, status = 'deleting'"),
    ("counts the revision", "update streams set updated_at = created_at, revision = revision + 100"),
    ("counts the revision", "update streams set updated_at = created_at, revision = revision - 1"),
    (
        "counts the revision",
        "insert into streams (id, name, status, version, created_at, revision) select 9, 'new', status, version, created_at, revision \
         from streams where id = 1",
    ),
    (
        "never changes what it holds",
        "update batches set position_to = position_to + 1 where state = 'sealed'",
    ),
    ("never changes what it holds", "update batches set object_key = 'elsewhere' where state = 'sealed'"),
    ("never changes what it holds", "update batches set stream = 'orders'"),
    ("never changes what it holds", "update batches set content = 'backup' where state = 'sealed'"),
    ("never changes what it holds", "update batches set processed_bytes = 1 where state = 'sealed'"),
    (
        "never changes what it holds",
        "update batches set failed_records = 2 where content = 'decompression-failed'",
    ),
    (
        "never changes what it holds",
        "update batches set copy_target = null, table_key = null where state = 'sealed'",
    ),
    (
        "what is delivered stays so",
        "update batches set state = 'uploaded', load_id = null where state = 'loaded'",
    ),
    (
        "what is delivered stays so",
        "update batches set state = 'sealed', etag = null, object_bytes = null where state = 'delivered'",
    ),
    ("what is delivered stays so", "update batches set state = 'sealed' where state = 'discarded'"),
    ("what is delivered stays so", "update batches set state = 'sealed' where state = 'empty'"),
    (
        "what is delivered stays so",
        "update batches set state = 'lost', etag = null, object_bytes = null where content = 'decompression-failed'",
    ),
    (
        "only while its stream is being deleted",
        "update batches set state = 'discarded' where state in ('sealed', 'uploaded')",
    ),
    (
        "has ended stays so",
        "update loads set state = 'abandoned', code = 'c', reason = 'r', errors_manifest_key = 'k', rows = null where state = 'committed'",
    ),
    (
        "has ended stays so",
        "update loads set state = 'committed', code = null, reason = null, errors_manifest_key = null where state = 'abandoned'",
    ),
];
