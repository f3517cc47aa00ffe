// The view as it stands in the registry, and how a change gets into it: read through the leader, change, compare-and-set, again when
// somebody was faster. A write without an answer is settled by reading: its opId says whether it is there. A registry that went back
// is repaired on the way. Decides nothing about who belongs into the view, nor which of two meshes goes on.

import { MeshError, decodeView, emptyView, encodeView, messageOf, type View } from "#proto";
import type { Clock } from "./clock.ts";
import type { KvEntry } from "./kv/port.ts";
import type { LogLine } from "./log.ts";
import { pause } from "./pause.ts";
import type { RegistryKeys } from "./relay.ts";
import { rebased } from "./view-change.ts";

export const VIEW_KEY = "view";
/** First and longest pause after a lost race: the first suits a handful of nodes, the longest a whole mesh that starts at once. */
const RETRY_FIRST_MS = 20;
const RETRY_MAX_MS = 500;
/** Pauses after the view was proposed to a registry that did not hold it, doubled each time it still does not: nobody knows why, and all members do the same. */
const PROPOSE = { firstMs: 50, maxMs: 1_000 };
/** Writes without an answer whose names are kept; a change that was forgotten is still recognised by its effect. */
const OPERATIONS_MAX = 32;

export interface ViewRegisterOptions {
  readonly kv: RegistryKeys;
  /** This life of this node, as no other is called: its writes are named after it. */
  readonly writer: string;
  readonly clock: Clock;
  readonly log: LogLine;
  /** Ends every wait. */
  readonly closing: AbortSignal;
  /** May this node say what the view is when the registry has forgotten it? One that was cut off knows less than others. */
  readonly mayRepair: () => boolean;
  /** How long a node that may not repair leaves it to others before it does. */
  readonly repairHoldMs: number;
  /**
   * How long a registry must be seen without a view before a node that joins founds the mesh in it. The registry may be new, or it
   * has lost everything while a mesh runs: its members need so long to say so.
   */
  readonly foundHoldMs: number;
  /** The name of a mesh that is founded now, by this node; see `View.founding`. */
  readonly founding: () => string;
  /** A member reads a view of a mesh that was founded apart from its own. True: write ours over it. False: this node ends as a member. */
  readonly overrules: (stranger: View) => boolean;
  /** It was written over; its members do not know yet. */
  readonly onOverruled: (stranger: View) => void;
  /** A view newer than any before. */
  readonly onView: (view: View) => void;
  /** Numbers in [0, 1): spreads the retries of those who lost a race. */
  readonly draw: () => number;
}

export class ViewRegister {
  readonly #options: ViewRegisterOptions;
  #known: View = emptyView;
  #rewoundSince: number | undefined;
  /** In a row, and when the next may follow. */
  #proposals = 0;
  #proposeAt = Number.NEGATIVE_INFINITY;
  #emptySince: number | undefined;
  #writes = 0;
  /** Set once this node is in the view: from then on what it has seen counts against a registry that went back. */
  member = false;

  constructor(options: ViewRegisterOptions) {
    this.#options = options;
  }

  /** The newest view seen. */
  get known(): View {
    return this.#known;
  }

  /** Does this view, as a hint shows it, follow the newest one seen? If not, only a read can tell what it is. */
  follows(view: View): boolean {
    return view.epoch > this.#known.epoch && !rebased(this.#known, view).rewound;
  }

  /** Takes a view from a hint, which MUST have come from the registry. */
  adopt(view: View): void {
    if (view.epoch <= this.#known.epoch) return;
    this.#known = view;
    this.#options.onView(view);
  }

  /**
   * Gets `mutate` into the stored view; the view with it, which is the stored one when it was in it already. `mutate` is called once a try, returns
   * its argument for no change, and may throw to give up. Throws `registry_unavailable` after `limitMs`, `suspended` when closing.
   */
  async change(mutate: (base: View) => View, limitMs: number): Promise<View> {
    const { clock, closing, draw } = this.#options;
    const until = clock.now() + limitMs;
    const operations = new Set<string>();
    for (let tries = 0; !closing.aborted; tries++) {
      const view = await this.#attempt(mutate, operations);
      if (view !== undefined) return view;
      if (clock.now() >= until) {
        throw new MeshError("registry_unavailable", `the registry did not take a change of the view in ${limitMs} ms`);
      }
      const longest = Math.min(RETRY_FIRST_MS * 2 ** Math.min(tries, 10), RETRY_MAX_MS);
      await pause(clock, longest * (0.5 + draw() / 2), closing);
    }
    throw new MeshError("suspended", "this node does not take part in the mesh any more");
  }

  /** Undefined: try again. */
  async #attempt(mutate: (base: View) => View, operations: Set<string>): Promise<View | undefined> {
    const { kv, clock, log, writer } = this.#options;
    let entry: KvEntry | undefined;
    try {
      entry = await kv.get(VIEW_KEY);
    } catch (error) {
      log("debug", "the view cannot be read", { error: messageOf(error) });
      return undefined;
    }
    const stored = entry === undefined ? undefined : this.#decode(entry);
    if (stored !== undefined && operations.has(stored.opId)) {
      this.adopt(stored);
      return stored;
    }
    const stranger =
      this.member && stored !== undefined && stored.founding !== this.#known.founding ? stored : undefined;
    if (stranger !== undefined && !this.#options.overrules(stranger)) return undefined;
    const { base, rewound } = this.member
      ? rebased(this.#known, stored)
      : { base: stored ?? emptyView, rewound: false };
    if (!this.#mayWrite(rewound) || !this.#mayFound(stored)) return undefined;

    const wanted = mutate(base);
    if (wanted === stored || wanted === emptyView) {
      this.adopt(wanted);
      return wanted;
    }
    const founding = wanted.founding === "" ? this.#options.founding() : wanted.founding;
    const next = { ...wanted, founding, opId: `${writer}.v${++this.#writes}` };
    operations.add(next.opId);
    for (const oldest of operations) if (operations.size > OPERATIONS_MAX) operations.delete(oldest);
    const bytes = encodeView(next);
    const write = await (entry === undefined ? kv.create(VIEW_KEY, bytes) : kv.update(VIEW_KEY, bytes, entry.revision));
    if (write.status !== "written") return undefined;
    if (rewound) {
      this.#proposeAt = clock.now() + Math.min(PROPOSE.firstMs * 2 ** this.#proposals++, PROPOSE.maxMs);
      log("warn", "the registry did not hold the view of this mesh any more; proposed it again", {
        epoch: next.epoch,
        stored: stored?.epoch ?? 0,
      });
    }
    this.adopt(next);
    if (stranger !== undefined) this.#options.onOverruled(stranger);
    return next;
  }

  #mayWrite(rewound: boolean): boolean {
    if (!rewound) {
      this.#rewoundSince = undefined;
      this.#proposals = 0;
      return true;
    }
    const now = this.#options.clock.now();
    this.#rewoundSince ??= now;
    if (now < this.#proposeAt) return false;
    return this.#options.mayRepair() || now - this.#rewoundSince >= this.#options.repairHoldMs;
  }

  #mayFound(stored: View | undefined): boolean {
    if (this.member || stored !== undefined) {
      this.#emptySince = undefined;
      return true;
    }
    const now = this.#options.clock.now();
    this.#emptySince ??= now;
    return now - this.#emptySince >= this.#options.foundHoldMs;
  }

  /** A member overwrites what is not a view; anybody else must not. */
  #decode(entry: KvEntry): View | undefined {
    try {
      return decodeView(entry.value);
    } catch (error) {
      if (!this.member) throw error;
      this.#options.log("error", "the registry holds no readable view", { error: messageOf(error) });
      return undefined;
    }
  }
}
