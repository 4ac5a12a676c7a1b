//! What can be set, with good constants for the rest.

use std::time::Duration;

use hydrant_types::ByteSize;

/// How deliveries are made. Data only: what is called is in [`crate::Deps`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node, for people: host and log directory.
    pub node: String,
    /// Caps every stream's buffering interval; `hydrant dev` sets 1 s.
    pub interval_max: Option<Duration>,
    /// gzip level, 1 (fast) to 9 (small).
    pub gzip_level: u32,
    /// Between two tries of a failed COPY.
    pub copy_retry: Duration,
    /// The role in COPY instead of each stream's own; `default` for the cluster's.
    pub copy_iam_role: Option<String>,
    /// How long done batches and loads are kept in the metastore.
    pub retention: Duration,
    /// Memory of all encoders together. A batch that finds none left is encoded when it is sealed.
    pub encoder_memory_max: u64,
    /// Bytes of object bodies in memory, all uploads together; a bigger object is uploaded alone.
    pub upload_bytes_max: u64,
    /// PUTs under way, all streams together; one bucket gets half of them.
    pub uploads_max: usize,
    /// Batches of one stream that are sealed and not yet uploaded. More would cut an outage's backlog into small objects.
    pub stream_uploads_max: usize,
    /// Threads that read the log and compress.
    pub encode_slots: usize,
    /// First wait after a failed call.
    pub backoff_min: Duration,
    /// Longest wait after failed calls (jitter may double it).
    pub backoff_max: Duration,
    /// A PUT is given up after this and one second per MiB.
    pub upload_timeout: Duration,
    /// How long a lease is held without being renewed.
    pub lease_ttl: Duration,
    /// The loader looks for work at least this often; uploads wake it sooner.
    pub loader_interval: Duration,
    /// First wait between two looks at a running COPY; doubles up to [`Settings::poll_max`].
    pub poll_min: Duration,
    /// Longest wait between two looks at a running COPY.
    pub poll_max: Duration,
    /// Between two sweeps of the retention.
    pub retention_interval: Duration,
    /// How long a stop waits for steps under way before it drops them (design decision D18).
    pub stop_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: String::new(),
            interval_max: None,
            gzip_level: 6,
            copy_retry: Duration::from_secs(300),
            copy_iam_role: None,
            retention: Duration::from_secs(30 * 24 * 3600),
            encoder_memory_max: ByteSize::mib(64).bytes(),
            upload_bytes_max: ByteSize::mib(64).bytes(),
            uploads_max: 32,
            stream_uploads_max: 2,
            encode_slots: std::thread::available_parallelism().map_or(2, usize::from),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            upload_timeout: Duration::from_secs(30),
            lease_ttl: Duration::from_secs(30),
            loader_interval: Duration::from_secs(5),
            poll_min: Duration::from_millis(50),
            poll_max: Duration::from_secs(2),
            retention_interval: Duration::from_secs(3600),
            stop_grace: Duration::from_millis(2500),
        }
    }
}
