//! A small durable S3 server inside the process, for `hydrant dev` and tests.
