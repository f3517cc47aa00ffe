// A node:cluster primary with two workers that listen for links, call each other over TCP, and report what they saw. Prints one line of
// JSON: a list of `{port, pid, answeredBy}`. The worker that is told to die does so with its link open.

import cluster from "node:cluster";
import { tmpdir } from "node:os";
import path from "node:path";
import { createLinks, listenLinks } from "#mesh";
import { workerIdOf } from "#proto";
import { callOf, memberAt, options } from "./members.ts";

const idOf = (index: number) => workerIdOf("n1", { index, incarnation: "c1" });

if (cluster.isPrimary) {
  const workers = [0, 1].map((index) => cluster.fork({ LINK_INDEX: String(index) }));
  const ports: number[] = [];
  const reports: unknown[] = [];
  workers.forEach((worker, index) => {
    worker.on("message", (message: { port?: number; report?: unknown }) => {
      if (message.port !== undefined) ports[index] = message.port;
      if (message.report !== undefined) reports.push(message.report);
      if (message.port !== undefined && ports.filter(Boolean).length === 2) {
        workers.forEach((each, at) => each.send({ port: ports[1 - at] }));
      }
      if (reports.length === 2) {
        console.log(JSON.stringify(reports));
        for (const each of workers) each.send({ stop: true });
      }
    });
  });
} else {
  const index = Number(process.env["LINK_INDEX"]);
  const [self, other] = [idOf(index), idOf(1 - index)];
  const listener = await listenLinks({
    self,
    mesh: "test",
    bind: "127.0.0.1",
    socketPath: path.join(tmpdir(), `link-${process.pid}.sock`),
    epoch: () => 1,
    service: {
      admit: () => Promise.resolve(true),
      call: () => ({
        status: "reply",
        reply: { status: 200, statusText: "OK", headers: [], body: String(process.pid) },
      }),
      connect: () => ({ status: "moved", worker: undefined, epoch: 1 }),
      ask: () => ({ ok: true, sessions: [], more: false }),
    },
  });
  const links = createLinks({ self, mesh: "test", machine: "here", epoch: () => 1 });
  process.on("message", (message: { port?: number; stop?: boolean }) => {
    if (message.port !== undefined) void report(message.port);
    // Nothing else is closed by force: a worker that does not exit now has left something behind.
    if (message.stop === true) void Promise.all([links.close(), listener.close()]).then(() => process.disconnect?.());
  });
  process.send?.({ port: listener.port });

  const report = async (port: number) => {
    const outcome = await links.call(memberAt({ port, socket: "" }, "tcp", other), callOf(), options);
    const body = outcome.status === "reply" && typeof outcome.reply.body === "string" ? outcome.reply.body : "";
    process.send?.({ report: { port: listener.port, pid: process.pid, answeredBy: Number(body) } });
  };
}
