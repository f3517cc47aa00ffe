// What code inside an enclosure finds behind `#mesh`: a thread or process that holds one session speaks to its worker only, so it loads
// neither gRPC nor NATS. That saves each of them about 10 MB and 100 ms.

export { SessionCall } from "./call.ts";
export { systemClock } from "./clock.ts";
export { PairedLink } from "./link/paired-link.ts";
export { Roster } from "./roster.ts";
export { ANSWER_BYTES_MAX } from "./socket.ts";
