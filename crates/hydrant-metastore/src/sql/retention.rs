//! Deletes what is done and old, in small steps.

use hydrant_types::Timestamp;

use super::call::Call;
use crate::{
    error::Result,
    failure::undone,
    row::{done_states, moment},
};

/// What a load or a batch that stays refers to stays too: a parked batch keeps its load, a batch the version of its stream's settings.
const STATEMENTS: [&str; 3] = [
    concat!(
        "delete from batches where id in (select id from batches where state in ",
        done_states!(),
        " and updated_at < $1 order by updated_at limit $2)"
    ),
    "delete from loads where id in (select l.id from loads l where l.state in ('committed', 'abandoned') and l.updated_at < $1 \
     and not exists (select 1 from batches b where b.load_id = l.id) order by l.updated_at limit $2)",
    // Replaced long ago, so that no node can still be about to seal under it.
    "delete from stream_versions where (stream_id, version) in (select v.stream_id, v.version \
     from stream_versions v join streams s on s.id = v.stream_id where v.version < s.version \
     and exists (select 1 from stream_versions n where n.stream_id = v.stream_id and n.version > v.version and n.created_at < $1) \
     and not exists (select 1 from batches b where b.stream_id = v.stream_id and b.stream_version = v.version) limit $2)",
];

pub(super) async fn sweep(call: &mut Call, before: Timestamp, limit: u32) -> Result<u64> {
    let mut deleted = 0;
    for statement in STATEMENTS {
        let left = i64::from(limit).saturating_sub_unsigned(deleted);
        if left == 0 {
            break;
        }
        let done = sqlx::query(statement).bind(moment(before)).bind(left).execute(&mut **call).await;
        deleted += done.map_err(undone(call.step))?.rows_affected();
    }
    Ok(deleted)
}
