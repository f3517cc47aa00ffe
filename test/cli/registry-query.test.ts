// How the command line asks the registry when the node that answers first may not answer.

import { afterAll, beforeAll, expect, test } from "vitest";
import { connectNats, type NatsLink } from "#mesh";
import { MeshError } from "#proto";
import { queryRegistry } from "../../cli/registry/query.ts";
import { startNats, type NatsServer } from "../infra/nats-server.ts";

let server: NatsServer;
let link: NatsLink;

beforeAll(async () => {
  server = await startNats();
  link = await connectNats(server.url, { name: "a node" });
});
afterAll(async () => {
  await link.close();
  await server.remove();
});

test("a node that is suspended is not the last word: the question is asked again", async () => {
  let asked = 0;
  await link.serve("mesh.one.registry.view", {}, async () => {
    if (++asked === 1) throw new MeshError("suspended", "for now");
    return { epoch: 9 };
  });
  expect(await queryRegistry({ nats: server.url, mesh: "one" }, "view", {})).toEqual({ epoch: 9 });
  expect(asked).toBe(2);
});

test("what will not pass is not asked again", async () => {
  let asked = 0;
  await link.serve("mesh.two.registry.get", {}, async () => {
    asked++;
    throw new MeshError("bad_name", "no such name");
  });
  await expect(queryRegistry({ nats: server.url, mesh: "two" }, "get", {})).rejects.toMatchObject({ code: "bad_name" });
  expect(asked).toBe(1);
});

test("where no node of the mesh answers it says where a mesh may be found", async () => {
  await expect(queryRegistry({ nats: server.url, mesh: "three" }, "view", {})).rejects.toMatchObject({
    code: "registry_unavailable",
    message: expect.stringMatching(/no node of a mesh named "three" answers .*`mesh dev` has no registry to ask/),
  });
});
