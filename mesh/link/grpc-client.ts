// The client end of a link in gRPC: one channel and one call each, so that one link's trouble is no other's. With grpc-server.ts the
// only file that knows grpc-js.

import {
  Client,
  credentials,
  type ChannelCredentials,
  type ClientOptions,
  type ServiceError,
  type StatusObject,
} from "@grpc/grpc-js";
import { LINK_METHOD_PATH, decodeBatch, encodeBatch, type Frame, type Member } from "#proto";
import { HTTP2_WINDOW_BYTES, grpcOptions } from "./grpc-options.ts";
import type { LinkStream, LinkStreamEvents } from "./stream.ts";

const clientOptions: ClientOptions = {
  ...grpcOptions,
  "grpc-node.flow_control_window": HTTP2_WINDOW_BYTES,
  // Closing a link must close its connection, and a new link must not inherit the back-off of an old one.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 500,
  // A call that was handed to a broken connection must never be sent again behind our back.
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_http_proxy": 0,
};

/** The credentials of every link that this process makes. */
function clientCredentials(): ChannelCredentials {
  return credentials.createInsecure();
}

/** Opens a stream to `to`, over its Unix socket when it is on `machine`. Errors come through `closed`. */
export function dialLink(to: Member, machine: string, events: LinkStreamEvents): LinkStream {
  const client = new Client(targetOf(to, machine), clientCredentials(), clientOptions);
  const call = client.makeBidiStreamRequest<readonly Frame[], readonly Frame[]>(
    LINK_METHOD_PATH,
    encodeBatch,
    decodeBatch,
  );
  let open = true;

  const end = (): boolean => {
    if (!open) return false;
    open = false;
    call.cancel();
    client.close();
    return true;
  };
  const closed = (status: Pick<StatusObject | ServiceError, "details">) => {
    if (end()) events.closed(status.details);
  };
  call.on("data", (batch: readonly Frame[]) => {
    if (open) events.received(batch);
  });
  call.on("drain", () => {
    if (open) events.drained();
  });
  // Every end but OK comes as an error first; a listener must stay, for the error that follows our own cancel.
  call.on("error", (error: ServiceError) => closed(error));
  call.on("status", closed);

  return {
    write: (batch) => (open ? call.write(batch) : true),
    close: () => void end(),
  };
}

function targetOf(to: Member, machine: string): string {
  const { host, port, socket } = to.worker.address;
  if (to.node.machine === machine && socket !== "") return `unix:${socket}`;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
