// The most telling faults of the list, each once, against real nodes with a network namespace each where the machine allows. All of them,
// and pairs: `node test/chaos/run.ts`.

import { test } from "vitest";
import { EACH_ONCE_LIMIT_MS, eachOnce } from "./each-once.ts";

const TELLING = [
  "worker killed",
  "node killed",
  "half of the nodes killed",
  "power lost, silently",
  "cut off from NATS",
  "packets to NATS and the nodes lost",
  "NATS restarted, its store wiped",
  "NATS down for 10 s",
  "connection storm",
  "a node joins",
  "a node drains",
];

test("each fault costs what it hits, and no name ever has two servers", { timeout: EACH_ONCE_LIMIT_MS }, async () => {
  await eachOnce(TELLING, 1);
});
