//! End to end: the real binary, real Postgres, a real S3 server, real SDKs.
