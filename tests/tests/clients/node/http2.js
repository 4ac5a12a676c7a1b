// One request without a signature over HTTP/2; prints the protocol, the status and the error's code.
const http2 = require("node:http2");

const session = http2.connect(process.argv[2]);
session.on("error", (error) => {
  throw error;
});
const request = session.request({
  ":method": "POST",
  ":path": "/",
  "content-type": "application/x-amz-json-1.1",
  "x-amz-target": "Firehose_20150804.ListDeliveryStreams",
});
request.on("response", (headers) => {
  console.log(session.alpnProtocol, headers[":status"], headers["x-amzn-errortype"]);
  session.close();
});
request.resume();
request.end("{}");
