"""Prints the records in an object: read.py FORMAT FILE. Nothing here knows of Hydrant."""

import gzip
import sys
import zipfile

import snappy


def unzip(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        (name,) = archive.namelist()
        assert len(name) == 36 and name in path, f"{name} is the UUID in {path}"
        return archive.read(name)


def unsnap(path):
    decompressor = snappy.HadoopStreamDecompressor()
    with open(path, "rb") as file:
        records = decompressor.decompress(file.read())
    assert not decompressor.remains, "it is cut off"
    return records


READERS = {
    "UNCOMPRESSED": lambda path: open(path, "rb").read(),
    "GZIP": lambda path: gzip.open(path).read(),
    "ZIP": unzip,
    "HADOOP_SNAPPY": unsnap,
}

sys.stdout.buffer.write(READERS[sys.argv[1]](sys.argv[2]))
