import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { asking, callOf, memberAt, options } from "./loopback.ts";

function pathOf(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

test("workers of a cluster get a port each, answer on their own, and exit when they have closed", async () => {
  const primary = spawn(process.execPath, [pathOf("./cluster-fixture.ts")], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  primary.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  expect(await once(primary, "close")).toEqual([0, null]);
  const [one, two]: { port: number; pid: number; answeredBy: number }[] = JSON.parse(output);
  expect(one?.port).not.toBe(two?.port);
  expect(one?.answeredBy).toBe(two?.pid);
  expect(two?.answeredBy).toBe(one?.pid);
});

test("a call to a process that is killed fails with session_lost", async () => {
  const child = fork(pathOf("./host-fixture.ts"), { stdio: ["ignore", "ignore", "inherit", "ipc"] });
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
