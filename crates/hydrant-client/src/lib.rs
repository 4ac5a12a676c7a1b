//! A small Firehose client: signs, retries, batches.
