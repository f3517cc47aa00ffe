// Random faults on a small mesh in fake time: of the registry, of the links over which nodes promise and relay, and newcomers at any time.
// Whoever has been evicted must have stopped acting before, and when the faults end, the nodes that are left agree again.

import fc from "fast-check";
import { expect, test } from "vitest";
import { memoryBucket, type PeerPort } from "#mesh";
import { fakeClock } from "../infra/fake-clock.ts";
import {
  deafPeers,
  faulty,
  storedView,
  testNode,
  timings as usual,
  worker,
  type FaultyKv,
  type TestNode,
} from "./membership-nodes.ts";

/** A shorter cap makes the calm at the end short too. */
const timings = { ...usual, outageCapMs: 6_000 };

const IDS = ["n1", "n2", "n3", "n4"];
const NODES_MAX = 6;
/** How often the invariant is looked at: finer than any of the time-outs. */
const LOOK_MS = 50;

const step = fc.record({
  at: fc.nat(NODES_MAX - 1),
  fault: fc.constantFrom(
    ...["cut", "cut", "mend", "mend", "blind", "seeing", "lossy", "silent", "sound", "worker"],
    ...["others cut", "others cut", "all cut", "all mended", "apart", "apart", "together", "newcomer", "newcomer"],
    ...["deaf", "hearing", "late", "late"],
  ),
  waitMs: fc.integer({ min: 50, max: 4_000 }),
});

test("no node acts after it was taken out of the view, and the mesh settles when the faults end", async () => {
  let evictions = 0;
  let extensions = 0;
  let relays = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: IDS.length }),
      fc.array(step, { maxLength: 15, size: "max" }),
      async (size, steps) => {
        const clock = fakeClock();
        const bucket = memoryBucket();
        const registry = bucket.open();
        const kvs: FaultyKv[] = [];
        const nodes: TestNode[] = [];
        const apart = new Set<string>();
        /** Nobody relays; else how long such a question travels at most. */
        let deaf = true;
        let lateMs = 0;
        let relayed = 0;
        const peersOf = (self: string): PeerPort => ({
          ...deafPeers,
          // Nothing of these nodes ever dies.
          probe: async () => "open",
          ask: async (node) => {
            const asked = nodes.find((one) => one.id === node.id);
            const me = nodes.find((one) => one.id === self);
            if (asked === undefined || me === undefined || apart.has(self) || apart.has(node.id)) return "unknown";
            return asked.membership.answerContact(self, me.incarnation) ? "promised" : "denied";
          },
          relay: async (node, ask) => {
            const asked = nodes.find((one) => one.id === node.id);
            if (asked === undefined || deaf || apart.has(self) || apart.has(node.id)) return undefined;
            if (lateMs > 0) {
              const travelMs = (relayed++ * 577) % lateMs;
              await new Promise<void>((resolve) => void clock.timer(travelMs, resolve));
            }
            return asked.membership.answerRelay(self, ask);
          },
        });
        const start = (id: string): TestNode => {
          const kv = faulty(bucket.open());
          kvs.push(kv);
          const node = testNode(id, kv, clock, { timings, peers: peersOf(id) });
          nodes.push(node);
          return node;
        };
        for (const id of IDS.slice(0, size)) start(id);
        const joined = Promise.all(nodes.map((node) => node.membership.join([worker(0, "w")])));
        await clock.advance(2_000);
        await joined;

        const look = async (): Promise<void> => {
          const view = await storedView(registry);
          for (const { id, incarnation, membership, fenced } of nodes) {
            const inside = view?.nodes.some((node) => node.id === id && node.incarnation === incarnation);
            if (!inside) expect(membership.suspended || fenced.length > 0, `${id} acts outside of the view`).toBe(true);
          }
        };
        const pass = async (ms: number): Promise<void> => {
          for (let passed = 0; passed < ms; passed += LOOK_MS) {
            await clock.advance(LOOK_MS);
            await look();
          }
        };
        let turn = 0;
        for (const { at: any, fault, waitMs } of steps) {
          const at = any % nodes.length;
          const kv = kvs[at]!;
          if (fault === "cut") kv.cut = true;
          else if (fault === "mend") kv.cut = false;
          else if (fault === "blind") kv.blind = true;
          else if (fault === "seeing") kv.blind = false;
          else if (fault === "others cut") for (const one of kvs) one.cut ||= one !== kv;
          else if (fault === "all cut") for (const one of kvs) one.cut = true;
          else if (fault === "all mended") for (const one of kvs) one.cut = false;
          else if (fault === "apart") apart.add(nodes[at]!.id);
          else if (fault === "together") apart.clear();
          else if (fault === "deaf" || fault === "hearing") deaf = fault === "deaf";
          else if (fault === "late") [deaf, lateMs] = [false, 2 * waitMs];
          else if (fault === "newcomer") {
            if (nodes.length < NODES_MAX)
              start(`n${nodes.length + 1}`)
                .membership.join([worker(0, "w")])
                .catch(() => {});
          } else if (fault === "lossy") kv.fate = () => (turn++ % 3 === 0 ? "written" : "lost");
          else if (fault === "silent") kv.fate = () => (turn++ % 3 === 0 ? "written" : "silent");
          else if (fault === "sound") kv.fate = () => "written";
          else void nodes[at]!.membership.setWorkers([worker(0, `w${turn++}`)]).catch(() => {});
          await pass(waitMs);
        }

        apart.clear();
        lateMs = 0;
        for (const kv of kvs) {
          kv.blind = false;
          kv.fate = () => "written";
          kv.cut = false;
        }
        await pass(timings.outageCapMs + 10_000);
        const left = nodes.filter((node) => node.fenced.length === 0);
        evictions += nodes.length - left.length;
        extensions += nodes.filter((node) => node.logs.some((line) => line.includes("serving on"))).length;
        relays += nodes.filter((node) => node.logs.some((line) => line.includes("renews its lease"))).length;
        const view = await storedView(registry);
        expect(view?.nodes.map((node) => node.id) ?? []).toEqual(left.map((node) => node.id));
        for (const { membership } of left) {
          expect(membership.view.opId).toBe(view?.opId);
          expect(membership.suspended).toBe(false);
        }
        for (const node of nodes) await node.membership.close();
        // What was still on its way to a peer.
        await clock.advance(10_000);
        expect(clock.pending).toBe(0);
      },
    ),
    { numRuns: 150 },
  );
  // Or it proved nothing.
  expect(evictions).toBeGreaterThan(0);
  expect(extensions).toBeGreaterThan(0);
  expect(relays).toBeGreaterThan(0);
}, 20_000);
