// Starts one node on free ports and asks it as a client does: npm test

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

const node = spawn("mesh", ["dev", "app.ts", "--port", "0", "--admin-port", "0", "--json"], {
  stdio: ["ignore", "pipe", "inherit"],
});
let gateway = "";

before(async () => {
  // One line of JSON once it is ready.
  const [line] = (await once(createInterface(node.stdout), "line")) as [string];
  ({ gateway } = JSON.parse(line) as { gateway: string });
});
after(async () => {
  node.kill();
  await once(node, "exit");
});

test("the page comes from the application", async () => {
  assert.match(await (await fetch(gateway)).text(), /<title>Counter/);
});

test("each name counts for itself", async () => {
  const count = async (name: string, method: string): Promise<unknown> => {
    const { count: reached } = (await (await fetch(`${gateway}/sessions/counter/${name}`, { method })).json()) as {
      count: number;
    };
    return reached;
  };
  assert.equal(await count("alice", "POST"), 1);
  assert.equal(await count("alice", "POST"), 2);
  assert.equal(await count("bob", "GET"), 0);
});

test("all who watch a counter see it count", async () => {
  const url = `${gateway.replace("http", "ws")}/sessions/counter/${crypto.randomUUID()}`;
  const [one, other] = [new WebSocket(url), new WebSocket(url)];
  const open = once(one, "open");
  const seen = new Promise<void>((resolve) => {
    other.addEventListener("message", ({ data }) => {
      const { count } = JSON.parse(String(data)) as { count: number };
      if (count === 0) void open.then(() => one.send("+1"));
      if (count === 1) resolve();
    });
  });
  await seen;
  one.close();
  other.close();
});
