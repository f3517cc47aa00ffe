import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { asking, callOf, memberAt, options } from "./loopback.ts";

/** Starting processes is slow on a busy machine; that is not what is tested. */
const PROCESS_TIMEOUT_MS = 30_000;

test(
  "workers of a cluster get a port each, answer on their own, and exit when they have closed",
  { timeout: PROCESS_TIMEOUT_MS },
  async () => {
    const primary = spawn(process.execPath, [fileURLToPath(new URL("./cluster-fixture.ts", import.meta.url))], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    primary.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    expect(await once(primary, "close")).toEqual([0, null]);
    const [one, two]: { port: number; pid: number; answeredBy: number }[] = JSON.parse(output);
    expect(one?.port).not.toBe(two?.port);
    expect(one?.answeredBy).toBe(two?.pid);
    expect(two?.answeredBy).toBe(one?.pid);
  },
);

test("a call to a process that is killed fails with session_lost", { timeout: PROCESS_TIMEOUT_MS }, async () => {
  const child = fork(fileURLToPath(new URL("./host-fixture.ts", import.meta.url)), {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [address]: { port: number; socket: string }[] = await once(child, "message");
  if (address === undefined) throw new Error("no address");
  const links = asking();
  const outcome = links.call(memberAt(address, "tcp"), callOf(), options);
  await once(child, "message");
  child.kill("SIGKILL");
  expect(await outcome).toMatchObject({ status: "failed", error: { code: "session_lost" } });
  expect(await links.call(memberAt(address, "tcp"), callOf(), options)).toMatchObject({ status: "unreached" });
});
