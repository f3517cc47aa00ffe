// What happens outside of JavaScript, where nothing looks whether it is to stop and no error can be caught.

import { pbkdf2Sync } from "node:crypto";
import { closeSync } from "node:fs";
import type { Faults } from "./fault.ts";

/** About a minute of work. */
const ITERATIONS = 50_000_000;
/** More than any small server has open. */
const DESCRIPTORS = 200;

export const native: Faults = {
  "native-block": {
    what: "a synchronous function of Node that takes a minute",
    run: () => pbkdf2Sync("password", "salt", ITERATIONS, 64, "sha512"),
  },
  "native-crash": {
    what: "closes file descriptors that are not its own, of which Node aborts",
    run: () => {
      for (let fd = 3; fd < DESCRIPTORS; fd++) {
        try {
          closeSync(fd);
        } catch {
          // Was not open.
        }
      }
    },
  },
};
