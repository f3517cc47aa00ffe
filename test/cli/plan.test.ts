import { once } from "node:events";
import net from "node:net";
import { expect, test, vi } from "vitest";
import { checkPortsFree, planNodes } from "../../cli/launch/plan.ts";

test("the first port is that of all nodes, and each node has the next of both ranges", () => {
  expect(planNodes(3, 8080, 9080)).toEqual([
    { id: "n1", port: 8081, adminPort: 9080 },
    { id: "n2", port: 8082, adminPort: 9081 },
    { id: "n3", port: 8083, adminPort: 9082 },
  ]);
});

test("0 leaves every node to pick a free port", () => {
  expect(planNodes(2, 0, 0).map(({ port, adminPort }) => [port, adminPort])).toEqual([
    [0, 0],
    [0, 0],
  ]);
  expect(planNodes(2, 0, 9080).map(({ port }) => port)).toEqual([0, 0]);
});

test("ranges that overlap or leave the port numbers are refused with the options to change", () => {
  expect(() => planNodes(3, 8080, 8082)).toThrow("8080-8083 (--port) and 8082-8084 (--admin-port) overlap");
  expect(() => planNodes(3, 8080, 8083)).toThrow("8080-8083 (--port) and 8083-8085 (--admin-port) overlap");
  expect(() => planNodes(3, 8080, 8078)).toThrow("8080-8083 (--port) and 8078-8080 (--admin-port) overlap");
  expect(() => planNodes(1, 8080, 8080)).toThrow("8080-8081 (--port) and 8080 (--admin-port) overlap");
  expect(planNodes(3, 8080, 8084)).toHaveLength(3);
  expect(planNodes(3, 8080, 8077)).toHaveLength(3);
  expect(() => planNodes(3, 65_533, 9080)).toThrow("--port 65533 leaves no room for 3 nodes");
  expect(planNodes(2, 65_533, 9080)[1]?.port).toBe(65_535);
});

test("a port that this user may not use is not called taken", async () => {
  const listen = vi.spyOn(net.Server.prototype, "listen").mockImplementation(function (this: net.Server) {
    queueMicrotask(() => this.emit("error", Object.assign(new Error("no"), { code: "EACCES" })));
    return this;
  });
  try {
    await expect(checkPortsFree([], 80)).rejects.toThrow("port 80 may not be used by this user (it is for all nodes");
  } finally {
    listen.mockRestore();
  }
});

test("a taken port is found before anything starts", async () => {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const address = server.address();
    const taken = typeof address === "object" && address !== null ? address.port : 0;
    await expect(checkPortsFree([{ id: "n4", port: 0, adminPort: taken }], 0)).rejects.toThrow(
      `port ${taken} is taken (it is for the admin port of n4): start elsewhere with --admin-port`,
    );
    await expect(checkPortsFree([{ id: "n1", port: 0, adminPort: 0 }], 0)).resolves.toBeUndefined();
    await expect(checkPortsFree([], taken)).rejects.toThrow(`port ${taken} is taken (it is for all nodes together)`);
  } finally {
    server.close();
  }
});
