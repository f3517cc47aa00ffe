import { expect, test } from "vitest";
import { LAUNCHED_ENV, unknownVariables } from "../../cli/unknown-variables.ts";

test("a variable that nothing reads is named with the one that was meant", async () => {
  expect(await unknownVariables({ MESH_DRAIM_MS: "1", MESH_PORT: "0", OTHER: "1" })).toEqual([
    "nothing reads the variable MESH_DRAIM_MS. Did you mean MESH_DRAIN_MS?",
  ]);
});

test("one that resembles none is named alone", async () => {
  expect(await unknownVariables({ MESH_OF_OURS: "1" })).toEqual(["nothing reads the variable MESH_OF_OURS."]);
});

test("variables that are read are no news, nor is any to a node whose launcher has said it", async () => {
  const read = { MESH_DEBUG: "1", MESH_NODE: "a", MESH_TRUSTED_PROXIES: "", MESH_SHARED_PORT: "1", MESH_LOG: "json" };
  expect(await unknownVariables(read)).toEqual([]);
  expect(await unknownVariables({ MESH_OF_OURS: "1", [LAUNCHED_ENV]: "1" })).toEqual([]);
});
