// The registry on three NATS servers that replicate it: what kills some of them, the election that follows, and what else asks of the
// registry to be right.

import { test } from "vitest";
import { EACH_ONCE_LIMIT_MS, eachOnce } from "./each-once.ts";
import { replicatingNats } from "./placed-nats.ts";

const TELLING = [
  "one of three NATS servers killed, a follower",
  "one of three NATS servers killed, the leader",
  "two of three NATS servers killed",
  "NATS restarted, its store wiped",
  "cut off from NATS",
  "node killed",
  "packets to NATS and the nodes lost",
];

const program = replicatingNats();
if (typeof program === "string") console.log(`not tested here: three NATS servers (${program})`);

test.skipIf(typeof program === "string")(
  "a registry of three servers loses one of them, or its majority, and no session ends",
  { timeout: EACH_ONCE_LIMIT_MS },
  async () => {
    await eachOnce(TELLING, 3);
  },
);
