//! A Redshift stand-in: the Data API over Postgres or SQLite, with a real COPY from S3.
