// Prints the records in an object that is framed as snappy-java frames: read_snappy.js Snappy FILE. Nothing here knows of Hydrant.
const assert = require("node:assert");
const fs = require("node:fs");
const { decompress } = require("kafkajs-snappy")();

const object = fs.readFileSync(process.argv[3]);
// What does not begin like this is taken for one block without a frame.
assert.deepStrictEqual([...object.subarray(0, 8)], [0x82, ...Buffer.from("SNAPPY"), 0]);
decompress(object).then((records) => fs.writeSync(1, records));
