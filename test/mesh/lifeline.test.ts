// Lifelines and probes over real sockets, and what they make of processes that are killed and stopped.

import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { followLifeline, probe, serveLifeline } from "#mesh";

/** A process that serves a lifeline, prints its port, and says when somebody follows it. */
async function lifelineProcess() {
  const code = `
    import { serveLifeline } from "#mesh";
    console.log((await serveLifeline("127.0.0.1")).port);
    const look = setInterval(() => {
      if (!process.getActiveResourcesInfo().includes("TCPSocketWrap")) return;
      clearInterval(look);
      console.log("followed");
    }, 5);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout });
  const [line] = (await once(lines, "line")) as [string];
  const followed = once(lines, "line");
  return { port: Number(line), followed, kill: (signal: NodeJS.Signals) => void child.kill(signal) };
}

test("a killed process ends its lifeline and then refuses; a stopped one does neither", async () => {
  const other = await lifelineProcess();
  const address = { host: "127.0.0.1", port: other.port };
  let ends = 0;
  const ended = Promise.withResolvers<void>();
  const stop = followLifeline(address, () => {
    ends += 1;
    ended.resolve();
  });
  onTestFinished(stop);
  // A connection that waits to be accepted is reset.
  await other.followed;
  other.kill("SIGSTOP");
  // Its kernel still accepts.
  expect(await probe(address)).toBe("open");
  expect(ends).toBe(0);
  other.kill("SIGKILL");
  await ended.promise;
  // The kernel closes one after the other.
  await expect.poll(() => probe(address), { interval: 10 }).toBe("refused");
  expect(ends).toBe(1);
});

test("a lifeline that was never there, or is reset, is no end", async () => {
  const server = net.createServer((connection) => connection.resetAndDestroy()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  let ends = 0;
  const stop = followLifeline({ host: "127.0.0.1", port }, () => (ends += 1));
  await once(server, "connection");
  server.close();
  await once(server, "close");
  const nobody = followLifeline({ host: "127.0.0.1", port }, () => (ends += 1));
  expect(await probe({ host: "127.0.0.1", port })).toBe("refused");
  expect(ends).toBe(0);
  stop();
  nobody();
});

test("who was never taken hears of no end: a living process closes a connection for which it has no descriptor", async () => {
  const server = net.createServer((connection) => connection.end()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  let ends = 0;
  const stop = followLifeline({ host: "127.0.0.1", port }, () => (ends += 1));
  const [connection] = (await once(server, "connection")) as [net.Socket];
  await once(connection, "close");
  // It tries again, which it would not after an end.
  await once(server, "connection");
  expect(ends).toBe(0);
  stop();
  server.close();
});

test("who stops following hears of no end, and no address is no probe", async () => {
  const lifeline = await serveLifeline("127.0.0.1");
  let ends = 0;
  const stop = followLifeline({ host: "127.0.0.1", port: lifeline.port }, () => (ends += 1));
  expect(await probe({ host: "127.0.0.1", port: lifeline.port })).toBe("open");
  stop();
  await lifeline.close();
  expect(await probe({ host: "127.0.0.1", port: 0 })).toBe("unknown");
  expect(await probe({ host: "no.such.name.invalid", port: 1 })).toBe("unknown");
  expect(ends).toBe(0);
});
