import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { stopWithParent } from './stop.js';

/*
 * What services of gRPC have in common, on Google's own library for Node. They know as little of the mesh as the others: a client dials a loopback
 * port that its sidecar holds open for this one callee, and passes the trace context of the request it serves on.
 */

/** Serves `service` with `handlers` by the names of its methods. */
export function serveGrpc(name, service, handlers) {
  const server = new Server();
  const methods = service.methods.map((method) => [method.localName, definitionOf(method)]);
  server.addService(Object.fromEntries(methods), handlers);
  server.bindAsync(`127.0.0.1:${process.env.PORT}`, ServerCredentials.createInsecure(), (error) => {
    if (error === null) return;
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  });
  stopWithParent(() => server.tryShutdown(() => process.exit(0)));
}

/** A client at `address`: `unary` resolves to the answer, `stream` gives answers as they come; both throw what the server says. */
export function grpcClient(address) {
  // `http_proxy` of whoever started all this is not meant.
  const client = new Client(address, credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 });
  const begin = (make, method, received, message, ...rest) => {
    const { path, requestSerialize, responseDeserialize } = definitionOf(method);
    return client[make](path, requestSerialize, responseDeserialize, message, metadataOf(received), ...rest);
  };
  return {
    unary: (method, received, message) =>
      new Promise((resolve, reject) => {
        begin('makeUnaryRequest', method, received, message, (error, value) =>
          error ? reject(error) : resolve(value),
        );
      }),
    stream: (method, received, message) => begin('makeServerStreamRequest', method, received, message),
  };
}

const httpStatuses = {
  [status.UNAUTHENTICATED]: 401,
  [status.PERMISSION_DENIED]: 403,
  [status.NOT_FOUND]: 404,
  [status.UNAVAILABLE]: 503,
};

/** What a failed call means to somebody who speaks HTTP: [status, value]. A sidecar's refusal says why and which decision it was, as JSON. */
export function httpAnswerTo({ code, details }) {
  const isJson = details.startsWith('{');
  return [httpStatuses[code] ?? 502, isJson ? JSON.parse(details) : { error: details }];
}

function metadataOf({ headers }) {
  const metadata = new Metadata();
  for (const name of ['traceparent', 'tracestate']) {
    if (headers[name] !== undefined) metadata.set(name, headers[name]);
  }
  return metadata;
}

/** What grpc-js wants to know of a method, from what the protobuf compiler wrote down. */
function definitionOf({ parent, name, methodKind, input, output }) {
  return {
    path: `/${parent.typeName}/${name}`,
    requestStream: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
    responseStream: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
    requestSerialize: (message) => Buffer.from(toBinary(input, message)),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(output, message)),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
  };
}
