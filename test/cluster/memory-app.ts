// The application of the memory tests: sessions that keep more and more in many small turns, neighbours with normal churn, and memory
// that is nobody's.

import { setTimeout as sleep } from "node:timers/promises";
import { defineMesh, SessionServer, type SessionOptions, type SessionSocket } from "sessionmesh";

const CHUNK_BYTES = 256 * 1024;

/** With records each time: some 9 MB a second. */
const LEAK_MS = 25;

/** From the mark to the end of the heap in 2 s. */
const FAST_LEAK_MS = 5;

/** What nobody can be blamed for. */
const hoard: unknown[] = [];

/** Never the same twice, and not one object that all of it hangs on. */
function records(): object[] {
  return Array.from({ length: 1_000 }, (_, at) => ({ at, text: `${Math.random()}`.repeat(8) }));
}

class Log {
  #entries: object[] = [];
  add(entries: readonly object[]): void {
    this.#entries.push(...entries);
  }
}

class Leaky extends SessionServer {
  static readonly options: SessionOptions = { idleMs: Infinity };
  readonly instance = crypto.randomUUID();
  readonly buffers: Buffer[] = [];
  readonly objects: object[] = [];
  readonly map = new Map<number, object>();
  readonly #log = new Log();
  #texts: string[] = [];
  #socketLog: object[] = [];

  override async fetch(request: Request): Promise<Response> {
    const how = new URL(request.url).searchParams.get("how");
    // As most handlers do: what they keep comes after the first await.
    await sleep(1);
    switch (how) {
      case "buffers":
        this.buffers.push(Buffer.alloc(CHUNK_BYTES, 1));
        break;
      case "objects":
        this.objects.push(...records());
        break;
      case "map":
        for (const one of records()) this.map.set(this.map.size, one);
        break;
      case "hidden":
        this.#log.add(records());
        break;
      case "texts":
        for (let at = 0; at < 100; at++) this.#texts.push(`${Math.random()}`.repeat(100));
        break;
      case "timer":
        setInterval(() => this.objects.push(...records()), LEAK_MS);
        break;
      case "closure": {
        const log: object[] = [];
        setInterval(() => log.push(...records()), LEAK_MS);
        break;
      }
      case "local": {
        const log: object[] = [];
        for (;;) {
          log.push(...records());
          await sleep(LEAK_MS);
        }
      }
      case "local-buffers": {
        const log: Buffer[] = [];
        for (;;) {
          log.push(Buffer.alloc(CHUNK_BYTES, 1));
          await sleep(LEAK_MS);
        }
      }
      case "fast":
        setInterval(() => this.objects.push(...records()), FAST_LEAK_MS);
        break;
      case "blob":
        // Large, but it does not grow.
        this.buffers.push(Buffer.alloc(Number(new URL(request.url).searchParams.get("bytes")), 1));
        break;
      case "hoard":
        hoard.push(Buffer.alloc(CHUNK_BYTES, 1));
        break;
      case "forget":
        hoard.length = 0;
        break;
      default:
    }
    return Response.json({ instance: this.instance, pid: process.pid });
  }

  override onConnect(): void {}

  override onMessage(socket: SessionSocket): void {
    this.#socketLog.push(...records());
    socket.attachment = this.#socketLog;
  }
}

/** Makes a lot of garbage, and holds little. */
class Neighbour extends SessionServer {
  static readonly options: SessionOptions = { idleMs: Infinity };
  readonly instance = crypto.randomUUID();
  #last: object[] = [];

  override async fetch(): Promise<Response> {
    const made = Array.from({ length: 200 }, (_, at) => ({ at, text: `${Math.random()}` }));
    await sleep(1);
    this.#last = made.slice(0, 5);
    return Response.json({ instance: this.instance, pid: process.pid, kept: this.#last.length });
  }
}

class Idle extends SessionServer {
  static readonly options: SessionOptions = { idleMs: 600_000 };

  override fetch(): Response {
    return Response.json({ pid: process.pid });
  }

  override onStop(reason: string): void {
    this.ctx.log.info("stopped in order", { reason });
  }
}

export default defineMesh({ sessions: { leaky: Leaky, neighbour: Neighbour, idle: Idle } });
