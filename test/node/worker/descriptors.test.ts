import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { Descriptors } from "../../../node/worker/descriptors.ts";

const open: number[] = [];
const descriptors = new Descriptors();
afterEach(() => {
  for (const fd of open.splice(0)) closeSync(fd);
});

function openAll(): void {
  expect(() => {
    for (;;) open.push(openSync("/dev/null", "r"));
  }).toThrow("EMFILE");
}

test("files that nobody closes are a leak once no descriptors were left for five seconds", () => {
  expect(descriptors.areLeaked(0)).toBe(false);
  openAll();
  expect(descriptors.areLeaked(1_000)).toBe(false);
  expect(descriptors.areLeaked(5_900)).toBe(false);
  expect(descriptors.areLeaked(6_000)).toBe(true);
});

test("descriptors in between begin the time anew, unless they are few", () => {
  openAll();
  expect(descriptors.areLeaked(0)).toBe(false);
  for (const fd of open.splice(-100)) closeSync(fd);
  expect(descriptors.areLeaked(3_000)).toBe(false);
  openAll();
  expect(descriptors.areLeaked(6_000)).toBe(false);
  closeSync(open.pop() ?? -1);
  expect(descriptors.areLeaked(9_000)).toBe(false);
  openAll();
  expect(descriptors.areLeaked(11_000)).toBe(true);
});

test("connections that take all descriptors are no leak", () => {
  const { href } = new URL("../../../node/worker/descriptors.ts", import.meta.url);
  const program = `
    import { once } from "node:events";
    import net from "node:net";
    import { Descriptors } from "${href}";
    const descriptors = new Descriptors();
    for (let left = true; left; ) {
      const server = net.createServer().listen(0, "127.0.0.1").unref();
      left = await once(server, "listening").then(() => true, () => false);
    }
    console.log(JSON.stringify([0, 6_000].map((nowMs) => descriptors.areLeaked(nowMs))));`;
  const node = [process.execPath, "--input-type=module", "-e", program];
  expect(execFileSync("sh", ["-c", 'ulimit -n 200 && exec "$@"', "sh", ...node]).toString()).toBe("[false,false]\n");
});
