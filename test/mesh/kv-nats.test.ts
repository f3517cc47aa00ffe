// The NATS adapter against a real nats-server, also while the server is killed, restarted and loses its store.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { connectNats, type NatsLink } from "#mesh";
import { startNats, type NatsServer } from "../infra/nats-server.ts";
import { kvContract } from "./kv.contract.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("with one server", () => {
  let server: NatsServer;
  const links: NatsLink[] = [];
  let buckets = 0;
  beforeAll(async () => {
    server = await startNats();
  });
  afterEach(async () => {
    for (const link of links.splice(0)) await link.close();
  });
  afterAll(() => server.remove());

  const link = async (): Promise<NatsLink> => {
    const next = await connectNats(server.url, { name: "test" });
    links.push(next);
    return next;
  };

  kvContract("the NATS bucket", async () => {
    const name = `contract-${++buckets}`;
    const one = await link();
    return () => one.bucket(name, { replicas: 1 });
  });

  test("replicas are refused on a server whose compare-and-set is not safe with them", async () => {
    const one = await link();
    await expect(one.bucket("replicated", { replicas: 3 })).rejects.toMatchObject({
      code: "bad_config",
      message: expect.stringContaining("MESH_NATS_REPLICAS=1"),
    });
  });

  test("a bucket that exists with settings that lose leases is refused, with what to change", async () => {
    const { connect } = await import("@nats-io/transport-node");
    const { Kvm } = await import("@nats-io/kv");
    const other = await connect({ servers: server.url });
    await new Kvm(other).create("expiring", { history: 5, ttl: 60_000 });
    await other.close();
    await expect((await link()).bucket("expiring", { replicas: 1 })).rejects.toMatchObject({
      code: "bad_config",
      message: expect.stringMatching(/allow_direct.*max_age.*history/),
    });
  });

  test("a question reaches one server, and its error comes back as the error it was", async () => {
    const [asker, answerer] = [await link(), await link()];
    const stop = await answerer.serve("mesh.test.echo", {}, (body) => Promise.resolve({ heard: body }));
    expect(await asker.request("mesh.test.echo", { hello: 1 }, 1_000)).toEqual({ heard: { hello: 1 } });
    await stop();
    await expect(asker.request("mesh.test.echo", {}, 1_000)).rejects.toMatchObject({ code: "registry_unavailable" });

    const { MeshError } = await import("#proto");
    await answerer.serve("mesh.test.fail", {}, () =>
      Promise.reject(new MeshError("not_active", "chat/x is not active", { session: "chat/x" })),
    );
    await expect(asker.request("mesh.test.fail", {}, 1_000)).rejects.toMatchObject({
      name: "MeshError",
      code: "not_active",
      session: "chat/x",
    });
  });

  test("a question that nobody answers in time fails with timeout", async () => {
    const one = await link();
    await one.serve("mesh.test.silent", {}, () => new Promise(() => {}));
    await expect(one.request("mesh.test.silent", {}, 50)).rejects.toMatchObject({ code: "timeout" });
  });

  test("a question to many ends with the expected number of answers, and of a queue one answers", async () => {
    const [asker, one, two] = [await link(), await link(), await link()];
    for (const [name, answerer] of Object.entries({ one, two })) {
      await answerer.serve("mesh.test.all", {}, () => Promise.resolve(name));
      await answerer.serve("mesh.test.any", { queue: "any" }, () => Promise.resolve(name));
    }
    const all = await asker.requestMany("mesh.test.all", {}, { timeoutMs: 5_000, expected: 2 });
    expect(all.toSorted()).toEqual(["one", "two"]);
    expect(await asker.requestMany("mesh.test.any", {}, { timeoutMs: 100, expected: 2 })).toHaveLength(1);
    expect(await asker.requestMany("mesh.test.nobody", {}, { timeoutMs: 5_000, expected: 2 })).toEqual([]);
  });

  test("a service shows itself to the standard tools of NATS and counts its requests", async () => {
    const { connect } = await import("@nats-io/transport-node");
    const { Svcm } = await import("@nats-io/services");
    const [asker, answerer] = [await link(), await link()];
    const stop = await answerer.service({
      name: "mesh-registry",
      version: "0.1.0",
      description: "queries",
      endpoints: [{ name: "nodes", subject: "mesh.svc.nodes", queue: "q", answer: () => Promise.resolve([]) }],
    });
    await asker.request("mesh.svc.nodes", null, 1_000);
    const tool = await connect({ servers: server.url });
    // The package's connection type is of another release of the client than the one that we use.
    const client = new Svcm(tool as unknown as ConstructorParameters<typeof Svcm>[0]).client();
    const first = async <T>(answers: Promise<AsyncIterable<T>>): Promise<T | undefined> => {
      for await (const answer of await answers) return answer;
      return undefined;
    };
    const ping = await first(client.ping());
    expect(ping).toMatchObject({ type: "io.nats.micro.v1.ping_response", name: "mesh-registry", version: "0.1.0" });
    expect(await first(client.info("mesh-registry"))).toMatchObject({
      endpoints: [{ name: "nodes", subject: "mesh.svc.nodes", queue_group: "q" }],
    });
    expect(await first(client.stats("mesh-registry", ping?.id))).toMatchObject({
      endpoints: [{ name: "nodes", num_requests: 1, num_errors: 0 }],
    });
    await stop();
    await expect(first(client.ping())).rejects.toThrow("no responders");
    await tool.close();
  });
});

test("an address without a server is reported in words, within the time it was given", async () => {
  const server = await startNats();
  await server.remove();
  const failure = connectNats(server.url, { name: "test", firstConnectMs: 300 });
  await expect(failure).rejects.toMatchObject({
    code: "registry_unavailable",
    message: expect.stringContaining(`no NATS server answers at ${server.url}: start one (nats-server -js)`),
  });
});

test("a server without JetStream is reported in words", async () => {
  const server = await startNats({ jetStream: false });
  const link = await connectNats(server.url, { name: "test" });
  await expect(link.bucket("mesh", { replicas: 1 })).rejects.toMatchObject({
    code: "bad_config",
    message: expect.stringContaining("start nats-server with -js"),
  });
  await link.close();
  await server.remove();
});

describe("when the server goes away", () => {
  let server: NatsServer;
  let link: NatsLink;
  beforeEach(async () => {
    server = await startNats();
    link = await connectNats(server.url, { name: "test" });
  });
  afterEach(async () => {
    await link.close();
    await server.remove();
  });

  const status = (wanted: "disconnected" | "reconnected"): Promise<void> =>
    new Promise((resolve) => {
      const stop = link.onStatus((next) => {
        if (next !== wanted) return;
        stop();
        resolve();
      });
    });

  test("writes are unknown and reads fail meanwhile; a restart keeps the entries and reports a gap to watches", async () => {
    const kv = await link.bucket("mesh", { replicas: 1, timeoutMs: 300 });
    const created = await kv.create("view", bytes("1"));
    expect(created.status).toBe("written");
    const gap = new Promise<void>((resolve) => void kv.watch(() => {}, resolve));
    const away = status("disconnected");
    await server.kill("SIGKILL");
    await away;
    expect(await kv.create("lease.n1", bytes("1"))).toEqual({ status: "unknown" });
    await expect(kv.get("view")).rejects.toMatchObject({ code: "registry_unavailable" });
    const back = status("reconnected");
    server = await startNats({ storeDir: server.storeDir, port: server.port });
    await back;
    await gap;
    expect(new TextDecoder().decode((await kv.get("view"))?.value)).toBe("1");
  }, 15_000);

  test("after the loss of its store the bucket is made anew, and watches go on", async () => {
    const kv = await link.bucket("mesh", { replicas: 1, timeoutMs: 300 });
    await kv.create("view", bytes("1"));
    const seen: string[] = [];
    let notify = (): void => {};
    const gap = new Promise<void>((resolve) => {
      void kv.watch((entry) => {
        seen.push(new TextDecoder().decode(entry.value));
        notify();
      }, resolve);
    });
    await server.remove();
    server = await startNats({ port: server.port });
    await gap;
    expect(await kv.get("view")).toBeUndefined();
    expect((await kv.create("view", bytes("2"))).status).toBe("written");
    while (!seen.includes("2")) await new Promise<void>((resolve) => (notify = resolve));
  }, 15_000);

  test("a stopped server costs each operation its time-out and no more", async () => {
    const kv = await link.bucket("mesh", { replicas: 1, timeoutMs: 200 });
    await server.kill("SIGSTOP");
    const began = performance.now();
    expect(await kv.create("view", bytes("1"))).toEqual({ status: "unknown" });
    expect(performance.now() - began).toBeLessThan(1_500);
    await server.kill("SIGCONT");
    // What timed out has landed all the same: `unknown` means just that.
    await expect.poll(async () => (await kv.get("view").catch(() => undefined))?.key).toBe("view");
  }, 15_000);
});
