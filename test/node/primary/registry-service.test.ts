// The registry service of a node that may not answer: over a NATS that is two maps, in fake time.

import { beforeEach, describe, expect, test } from "vitest";
import type { NatsLink, ServiceEndpoint } from "#mesh";
import { configFromEnv } from "../../../node/config.ts";
import { RegistryService, type RegistrySources } from "../../../node/primary/registry-service.ts";
import { fakeClock, type FakeClock } from "../../infra/fake-clock.ts";
import { viewOf } from "../../mesh/views.ts";

const view = viewOf(7, [{ id: "n1", workers: ["a"] }]);

let clock: FakeClock;
let suspended: boolean;
let service: RegistryService;
let endpoints: ReadonlyMap<string, ServiceEndpoint["answer"]>;
let ofNode: ServiceEndpoint["answer"];
/** When a worker is asked for its sessions. */
let whenAsked: () => void;

beforeEach(async () => {
  clock = fakeClock();
  suspended = false;
  whenAsked = () => {};
  const unused = (): never => {
    throw new Error("not of this test");
  };
  const nats: NatsLink = {
    service: async (options) => {
      endpoints = new Map(options.endpoints.map(({ name, answer }) => [name, answer]));
      return async () => {};
    },
    serve: async (_subject, _options, answer) => {
      ofNode = answer;
      return async () => {};
    },
    bucket: unused,
    request: unused,
    requestMany: unused,
    publish: unused,
    onStatus: unused,
    close: unused,
  };
  const questions: RegistrySources["questions"] = {
    ask: async () => undefined,
    askAll: async () => {
      whenAsked();
      return [{ op: "count", count: 3 }];
    },
  };
  service = new RegistryService(nats, configFromEnv({ MESH_NODE: "n1" }, "app.ts"), {
    questions,
    view: () => view,
    loads: () => new Map(),
    suspended: () => suspended,
    clock,
  });
  await service.start();
});

const ask = (name: string): Promise<unknown> => endpoints.get(name)!({});

describe("a node whose lease has run out", () => {
  test.each(["get", "list", "count", "nodes", "view"])(
    "refuses %s, after the others have had their time",
    async (name) => {
      suspended = true;
      let settled = false;
      const asked = ask(name).finally(() => (settled = true));
      asked.catch(() => {});
      // Any node that answers, answers within this.
      await clock.advance(1_500);
      expect(settled).toBe(false);
      await clock.advance(1_000);
      await expect(asked).rejects.toMatchObject({ code: "suspended", retryable: true, node: "n1" });
      expect(clock.pending).toBe(0);
    },
  );

  test("answers when it holds again by then", async () => {
    suspended = true;
    const asked = ask("view");
    await clock.advance(1_000);
    suspended = false;
    await clock.advance(1_500);
    expect(await asked).toEqual(view);
  });

  test("tells other nodes at once, which name it as missing", async () => {
    suspended = true;
    await expect(ofNode({ query: { op: "count" } })).rejects.toMatchObject({ code: "suspended" });
  });

  test("keeps back what it had found out before it lapsed", async () => {
    expect(await ask("count")).toEqual({ count: 3, byNode: { n1: 3 } });
    whenAsked = () => (suspended = true);
    await expect(ask("count")).rejects.toMatchObject({ code: "suspended" });
  });

  test("lets nobody wait any longer when it ends", async () => {
    suspended = true;
    const asked = ask("view");
    asked.catch(() => {});
    await service.close();
    await expect(asked).rejects.toMatchObject({ code: "suspended" });
    await clock.advance(0);
    expect(clock.pending).toBe(0);
  });
});
