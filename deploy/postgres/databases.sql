-- Run once, when the volume is new. The image makes "hydrant" itself, the metastore (POSTGRES_DB); "warehouse" is what
-- stands behind the Redshift stand-in.
CREATE DATABASE warehouse;
