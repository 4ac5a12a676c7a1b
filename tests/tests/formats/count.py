"""Counts the records of gzip objects in S3 by their numbers: count.py s3://BUCKET/PATTERN. Nothing here knows of Hydrant."""

import importlib.util
import json
import os
import pathlib
import sys

import duckdb

package = pathlib.Path(importlib.util.find_spec("duckdb_extension_httpfs").origin).parent
(extension,) = package.glob("extensions/*/httpfs.duckdb_extension")
database = duckdb.connect()
database.execute(f"LOAD '{extension}'")
database.execute(
    "CREATE SECRET (TYPE s3, PROVIDER config, KEY_ID '{}', SECRET '{}', REGION '{}', ENDPOINT '{}', "
    "URL_STYLE 'path', USE_SSL false)".format(
        *(os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_REGION", "S3_ENDPOINT"))
    )
)
names = ("objects", "records", "different", "least", "most")
counted = database.execute(
    "SELECT count(DISTINCT filename), count(*), count(DISTINCT id), min(id), max(id) "
    "FROM read_json(?, format = 'newline_delimited', compression = 'gzip', filename = true)",
    [sys.argv[1]],
).fetchone()
print(json.dumps(dict(zip(names, counted))))
