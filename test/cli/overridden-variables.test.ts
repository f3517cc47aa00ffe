import { expect, test } from "vitest";
import { overriddenVariables } from "../../cli/overridden-variables.ts";

test("each variable that the command sets itself is named with what to use in its place", () => {
  const env = { MESH_PORT: "1", MESH_ADMIN_PORT: "2", MESH_WORKERS: "3", MESH_BIND: "0.0.0.0", MESH_NAME: "mine" };
  expect(overriddenVariables("dev", env)).toEqual([
    "MESH_PORT is not read by mesh dev: use --port",
    "MESH_ADMIN_PORT is not read by mesh dev: use --admin-port",
    "MESH_WORKERS is not read by mesh dev: use --workers",
    "MESH_BIND is not read by mesh dev: it listens on 127.0.0.1",
  ]);
});

test("what only mesh up sets is read by mesh dev", () => {
  expect(overriddenVariables("up", { MESH_SHARED_PORT: "1", MESH_SOCKET_DIR: "/tmp" })).toHaveLength(2);
  expect(overriddenVariables("dev", { MESH_SHARED_PORT: "1", MESH_SOCKET_DIR: "/tmp" })).toEqual([]);
});
