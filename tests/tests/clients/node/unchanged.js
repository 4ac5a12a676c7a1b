// What a producer and an operator do with the AWS SDK for JavaScript. Nothing here knows of Hydrant: AWS_ENDPOINT_URL_FIREHOSE
// says where Firehose is.
const assert = require("node:assert");
const { Firehose } = require("@aws-sdk/client-firehose");

const firehose = new Firehose({});
const record = (number) => ({ Data: Buffer.from(JSON.stringify({ id: number }) + "\n") });

// One record, then three in one call.
async function put(stream, first) {
  const one = await firehose.putRecord({ DeliveryStreamName: stream, Record: record(+first) });
  assert(one.RecordId);
  const Records = [1, 2, 3].map((n) => record(+first + n));
  const answer = await firehose.putRecordBatch({ DeliveryStreamName: stream, Records });
  assert.strictEqual(answer.FailedPutCount, 0);
  assert.strictEqual(new Set(answer.RequestResponses.map((entry) => entry.RecordId)).size, 3);
}

async function burst(stream, first, calls) {
  const numbers = Array.from({ length: +calls }, (_, n) => +first + n);
  await Promise.all(numbers.map((n) => firehose.putRecord({ DeliveryStreamName: stream, Record: record(n) })));
}

async function control(name, bucket, role) {
  const stream = { DeliveryStreamName: name };
  const describe = async () => (await firehose.describeDeliveryStream(stream)).DeliveryStreamDescription;
  const created = await firehose.createDeliveryStream({
    ...stream,
    ExtendedS3DestinationConfiguration: {
      RoleARN: role,
      BucketARN: bucket,
      Prefix: "control/",
      CompressionFormat: "GZIP",
    },
    Tags: [{ Key: "team", Value: "shop" }],
  });
  assert(created.DeliveryStreamARN.endsWith(`:deliverystream/${name}`));
  const described = await describe();
  assert.strictEqual(described.DeliveryStreamStatus, "ACTIVE");
  assert(described.CreateTimestamp instanceof Date);
  assert((await firehose.listDeliveryStreams({})).DeliveryStreamNames.includes(name));
  await firehose.tagDeliveryStream({ ...stream, Tags: [{ Key: "hydrant:gzip-level", Value: "1" }] });
  assert.strictEqual((await firehose.listTagsForDeliveryStream(stream)).Tags.length, 2);
  await firehose.untagDeliveryStream({ ...stream, TagKeys: ["team"] });
  const tags = (await firehose.listTagsForDeliveryStream(stream)).Tags;
  assert.deepStrictEqual(tags, [{ Key: "hydrant:gzip-level", Value: "1" }]);
  await firehose.updateDestination({
    ...stream,
    CurrentDeliveryStreamVersionId: described.VersionId,
    DestinationId: described.Destinations[0].DestinationId,
    ExtendedS3DestinationUpdate: { Prefix: "other/" },
  });
  const updated = await describe();
  assert.strictEqual(updated.VersionId, "2");
  assert.strictEqual(updated.Destinations[0].ExtendedS3DestinationDescription.Prefix, "other/");
  await firehose.startDeliveryStreamEncryption(stream);
  assert.strictEqual((await describe()).DeliveryStreamEncryptionConfiguration.Status, "ENABLED");
  assert.strictEqual((await firehose.putRecord({ ...stream, Record: record(1) })).Encrypted, true);
  await firehose.stopDeliveryStreamEncryption(stream);
  assert.strictEqual((await describe()).DeliveryStreamEncryptionConfiguration.Status, "DISABLED");
  await firehose.deleteDeliveryStream(stream);
}

const [phase, ...words] = process.argv.slice(2);
const phases = { put, burst, control };
phases[phase](...words).catch((error) => {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
});
