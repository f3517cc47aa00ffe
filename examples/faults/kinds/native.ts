// What happens outside of JavaScript, where nothing looks whether it is to stop and no error can be caught.

import { pbkdf2Sync } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import type { Faults } from "./fault.ts";

/** About a minute of work. */
const ITERATIONS = 50_000_000;
/** More than any small server has open. */
const DESCRIPTORS = 200;

/** (module (func (export "f") (loop (br 0)))) */
const ENDLESS_MODULE = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x01, 0x04, 0x01, 0x60, 0x00, 0x00, 0x03, 0x02, 0x01, 0x00, 0x07, 0x05, 0x01, 0x01, 0x66, 0x00, 0x00],
  ...[0x0a, 0x09, 0x01, 0x07, 0x00, 0x03, 0x40, 0x0c, 0x00, 0x0b, 0x0b],
);

export const native: Faults = {
  "wasm-spin": {
    what: "an endless loop in WebAssembly",
    run: () => {
      const { f } = new WebAssembly.Instance(new WebAssembly.Module(ENDLESS_MODULE)).exports;
      if (typeof f === "function") f();
    },
  },
  "atomics-wait": {
    what: "Atomics.wait() for what nobody does",
    run: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
  },
  "open-files": {
    what: "opens files until there are no more descriptors",
    run: () => {
      for (;;) openSync("/dev/null", "r");
    },
  },
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
