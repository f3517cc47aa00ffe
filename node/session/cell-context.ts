// `ctx` of one session: a view of its cell with one field, since every session has one. What is rarely asked is made when asked.

import { MeshError, type Claims, type Fence } from "#proto";
import type { Log, LogFields } from "../log.ts";
import { claimsInForce } from "./caller.ts";
import type { Cell } from "./cell.ts";
import type { SessionContext } from "./context.ts";
import type { SessionSocket } from "./socket.ts";
import type { MeshSessions } from "./stub.ts";

/** How long requests under way, `onStop` and the rest may take together when a session ends by itself. */
export const STOP_LIMIT_MS = 5_000;

export class CellContext implements SessionContext {
  readonly #cell: Cell;

  constructor(cell: Cell) {
    this.#cell = cell;
  }

  get id(): { readonly kind: string; readonly name: string } {
    return this.#cell.id;
  }

  get node(): string {
    return this.#cell.kind.host.node;
  }

  get worker(): number {
    return this.#cell.kind.host.worker;
  }

  get fence(): Fence {
    const { epoch, claim } = this.#cell.fence;
    return { epoch, claim };
  }

  get log(): Log {
    const { log } = this.#cell.kind.host;
    const session = this.#cell.id.key;
    return {
      debug: (message: string, fields?: LogFields) => log.debug(message, { ...fields, session }),
      info: (message: string, fields?: LogFields) => log.info(message, { ...fields, session }),
      warn: (message: string, fields?: LogFields) => log.warn(message, { ...fields, session }),
      error: (message: string, fields?: LogFields) => log.error(message, { ...fields, session }),
    };
  }

  get mesh(): MeshSessions {
    return this.#cell.kind.host.stubs;
  }

  get env(): Readonly<Record<string, string | undefined>> {
    return this.#cell.kind.host.env;
  }

  get claims(): Claims | undefined {
    return claimsInForce();
  }

  get signal(): AbortSignal {
    return this.#cell.signal;
  }

  get storage(): never {
    const { kind } = this.#cell;
    throw new MeshError(
      "bad_app",
      `session kind "${kind.name}" keeps no storage: this version has none, keep state in fields or in a database of your own`,
    );
  }

  sockets(tag?: string): SessionSocket[] {
    const all = [...this.#cell.belongings.sockets];
    return tag === undefined ? all : all.filter((socket) => socket.tags.includes(tag));
  }

  waitUntil(promise: Promise<unknown>): void {
    this.#cell.waitUntil(promise);
  }

  blockConcurrencyWhile<Result>(fn: () => Promise<Result>): Promise<Result> {
    return this.#cell.blockConcurrencyWhile(fn);
  }

  destroy(): void {
    void this.#cell.stop("destroy", STOP_LIMIT_MS);
  }
}
