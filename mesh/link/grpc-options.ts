// Settings of gRPC that both ends of a link share.

/** Above the largest frame (a 16 MiB socket message) with the batch around it. */
const GRPC_MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

/**
 * HTTP/2's own window, for the connection and its one stream. The windows of the exchanges do the real work: this one must be so large
 * that it never slows a link, 4 MiB for 1 GB/s at a round trip of 4 ms. It bounds what a stalled process leaves in its kernel.
 */
export const HTTP2_WINDOW_BYTES = 4 * 1024 * 1024;

export const grpcOptions = {
  "grpc.max_receive_message_length": GRPC_MESSAGE_BYTES_MAX,
  "grpc.max_send_message_length": GRPC_MESSAGE_BYTES_MAX,
  // A peer that vanished without a FIN is noticed within 4 s, before it would be evicted for silence.
  "grpc.keepalive_time_ms": 2_000,
  "grpc.keepalive_timeout_ms": 2_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.enable_channelz": 0,
} as const;
