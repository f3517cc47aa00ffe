// The application of a worker whose watchdog does not work, as with a Node that does not let itself be stopped: its thread says that it
// is ready and never looks.

import { syncBuiltinESMExports } from "node:module";
import faults from "../../examples/faults/app.ts";

const threads = process.getBuiltinModule("node:worker_threads");
const { Worker } = threads;
const BLIND = `require("node:worker_threads").parentPort.postMessage({ type: "ready" }); setInterval(() => {}, 1_000);`;

class Blind extends Worker {
  constructor() {
    super(BLIND, { eval: true });
  }
}

Object.assign(threads, { Worker: Blind });
syncBuiltinESMExports();

export default faults;
