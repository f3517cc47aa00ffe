import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isOfTheNode } from "../../../node/worker/kill-target.ts";

const children: ReturnType<typeof spawn>[] = [];
beforeAll(async () => {
  for (const detached of [false, true]) {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore", detached });
    children.push(child);
    await once(child, "spawn");
  }
});
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

test("the process itself, its parent, its group and everybody are of the node", () => {
  for (const pid of [process.pid, process.ppid, 0, -1, -process.pid, -process.ppid]) {
    expect([pid, isOfTheNode(pid)]).toEqual([pid, true]);
  }
});

test("a child that the process started is not, nor is the group that it leads", () => {
  const [child, leader] = children.map(({ pid = 0 }) => pid);
  expect(isOfTheNode(child ?? 0)).toBe(false);
  expect(isOfTheNode(leader ?? 0)).toBe(false);
  expect(isOfTheNode(-(leader ?? 0))).toBe(false);
});

test("a process that is not there is nobody's", () => {
  expect(isOfTheNode(2 ** 30)).toBe(false);
});

test.runIf(process.platform === "linux")("other children of its parent are, as other workers would be", async () => {
  const sleeper = `const { spawn } = require("node:child_process");
    const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    const asking = spawn(process.execPath, ["--input-type=module", "-e",
      "import { isOfTheNode } from " + JSON.stringify(process.argv[1]) + "; console.log(isOfTheNode(" + other.pid + "))"],
      { stdio: ["ignore", "inherit", "inherit"] });
    asking.once("exit", () => { other.kill("SIGKILL"); });`;
  const module = new URL("../../../node/worker/kill-target.ts", import.meta.url).href;
  const parent = spawn(process.execPath, ["-e", sleeper, module], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  parent.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  await once(parent, "close");
  expect(text).toBe("true\n");
});
