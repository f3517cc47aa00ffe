import { expect, test } from "vitest";
import type { ListenLinksOptions, SessionCall } from "#mesh";
import { MeshError } from "#proto";
import { callOf, options, pair, signal, textOf } from "./loopback.ts";

type Arrival = Parameters<NonNullable<ListenLinksOptions["apart"]>>[0];

/** A service that echoes names, and arrivals that wait until the test lets them go on. */
async function waiting(count: number) {
  const arrivals: Arrival[] = [];
  const started: string[] = [];
  const all = signal();
  const { links, member } = await pair(
    {
      call: (_, call) => {
        started.push(call.url);
        return { status: "reply", reply: { status: 200, statusText: "", headers: [], body: call.url } };
      },
    },
    "unix",
    (arrival) => {
      if (arrivals.push(arrival) === count) all.resolve();
    },
  );
  const ask = (call: SessionCall) => links.call(member, call, options);
  return { arrivals, started, all: all.promise, ask };
}

const called = (name: string) => callOf({ url: `http://x/${name}` });

test("the calls of one batch start one by one, when they are told to, in their order", async () => {
  const { arrivals, started, all, ask } = await waiting(3);
  const outcomes = ["a", "b", "c"].map((name) => ask(called(name)));
  await all;
  expect(started).toEqual([]);
  arrivals[0]?.resume();
  expect(started).toEqual(["http://x/a"]);
  arrivals[1]?.resume();
  arrivals[2]?.resume();
  const bodies = (await Promise.all(outcomes)).map((one) => one.status === "reply" && one.reply.body);
  expect(await Promise.all(bodies.map(textOf))).toEqual(["http://x/a", "http://x/b", "http://x/c"]);
});

test("a call whose asker gave up before its turn never starts", async () => {
  const { arrivals, started, all, ask } = await waiting(2);
  const [gone, stays] = [called("gone"), called("stays")];
  const outcomes = [ask(gone), ask(stays)];
  await all;
  gone.cancel(new MeshError("cancelled", "gone"));
  expect(await outcomes[0]).toMatchObject({ status: "failed", error: { code: "cancelled" } });
  // Its reset arrives before what is asked after it.
  const last = ask(called("last"));
  while (arrivals.length < 3) await new Promise((resolve) => setImmediate(resolve));
  for (const arrival of arrivals) arrival.resume();
  expect(await outcomes[1]).toMatchObject({ status: "reply" });
  await last;
  expect(started).toEqual(["http://x/stays", "http://x/last"]);
});

test("a call whose turn was torn off is answered with why", async () => {
  const { arrivals, all, ask } = await waiting(1);
  const outcome = ask(called("torn"));
  await all;
  arrivals[0]?.torn(new MeshError("session_killed", "spun"));
  expect(await outcome).toMatchObject({ status: "failed", error: { code: "session_killed", message: "spun" } });
});
