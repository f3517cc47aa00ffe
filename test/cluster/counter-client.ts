// Asks sessions of the test application over HTTP and reads what they say of themselves. One answer is one record, whatever became of
// the request, so that a history of them can be judged later.

import http from "node:http";
import { integer, parseJson, record, text, type Fence } from "#proto";

/** Which server of the name answered, and from where. */
export interface Where {
  readonly name: string;
  readonly node: string;
  readonly worker: number;
  readonly pid: number;
  readonly fence: Fence;
  readonly instance: string;
}

export interface Count extends Where {
  readonly count: number;
}

export type Outcome =
  | { readonly status: "counted"; readonly answer: Count }
  /** problem+json of the mesh. */
  | {
      readonly status: "refused";
      readonly http: number;
      readonly code: string;
      readonly retryable: boolean;
      readonly detail: string;
    }
  /** The connection to the gateway failed. */
  | { readonly status: "broken"; readonly code: string }
  /** Nothing came at all: nothing excuses that. */
  | { readonly status: "hung"; readonly code: string };

/** Longer than any wait of the mesh itself: a request that takes longer hangs. */
const REQUEST_MS = 20_000;

/** Connections are kept, as a browser keeps them, or made anew for every request. One worker of the gateway's node serves each. */
export class CounterClient {
  readonly #agent: http.Agent;
  readonly #limitMs: number;
  readonly #read: (answer: Record<string, unknown>) => Count;

  /** @param options.read for applications whose counters answer in words of their own */
  constructor(
    options: {
      readonly keepAlive?: boolean;
      readonly limitMs?: number;
      readonly read?: (answer: Record<string, unknown>) => Count;
    } = {},
  ) {
    this.#agent = new http.Agent({ keepAlive: options.keepAlive ?? true });
    this.#limitMs = options.limitMs ?? REQUEST_MS;
    this.#read = options.read ?? readCount;
  }

  /** Never rejects. @param path e.g. `/sessions/counter/alice` */
  count(gateway: string, path: string): Promise<Outcome> {
    return new Promise((resolve) => {
      const broken = (error: Error): void =>
        resolve({ status: "broken", code: "code" in error ? String(error.code) : error.message });
      const request = http.get(gateway + path, { agent: this.#agent, timeout: this.#limitMs }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", broken);
        response.on("end", () => {
          try {
            resolve(readOutcome(response.statusCode ?? 0, Buffer.concat(chunks), this.#read));
          } catch (error) {
            broken(
              new Error(`an answer that is none: ${Buffer.concat(chunks).toString().slice(0, 200)}`, { cause: error }),
            );
          }
        });
      });
      request.on("timeout", () => {
        resolve({ status: "hung", code: `no answer within ${this.#limitMs} ms` });
        request.destroy();
      });
      request.on("error", broken);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The answer of a request that must succeed. */
export async function count(gateway: string, session: string): Promise<Count> {
  const response = await fetch(`${gateway}/sessions/${session}`);
  const body = Buffer.from(await response.arrayBuffer());
  const outcome = readOutcome(response.status, body);
  if (outcome.status !== "counted")
    throw new Error(`${session} through ${gateway}: ${response.status} ${body.toString()}`);
  return outcome.answer;
}

/** Where a session of any kind of the test application lives, after it answered. */
export async function whereIs(gateway: string, session: string): Promise<Where> {
  const response = await fetch(`${gateway}/sessions/${session}`);
  const body = await response.text();
  if (response.status !== 200) throw new Error(`${session} through ${gateway}: ${response.status} ${body}`);
  return readWhere(parseJson(Buffer.from(body), session));
}

export function readWhere(value: Record<string, unknown>): Where {
  const fence = record(value["fence"], "fence");
  return {
    name: text(value["name"], "name"),
    node: text(value["node"], "node"),
    worker: integer(value["worker"], "worker"),
    pid: integer(value["pid"], "pid"),
    fence: { epoch: integer(fence["epoch"], "fence.epoch"), claim: integer(fence["claim"], "fence.claim") },
    instance: text(value["instance"], "instance"),
  };
}

function readCount(value: Record<string, unknown>): Count {
  return { count: integer(value["count"], "count"), ...readWhere(value) };
}

function readOutcome(
  status: number,
  body: Uint8Array,
  read: (answer: Record<string, unknown>) => Count = readCount,
): Outcome {
  const value = parseJson(body, "answer");
  if (status === 200) return { status: "counted", answer: read(value) };
  return {
    status: "refused",
    http: status,
    code: text(value["code"], "code"),
    retryable: value["retryable"] === true,
    detail: text(value["detail"], "detail"),
  };
}
