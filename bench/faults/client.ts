// HTTP and WebSocket clients of the faults benchmark: failures are expected, and are values.

import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Undefined: the connection broke, before the answer or in it, or `signal` was aborted. */
export async function ask(port: number, path: string, how: http.RequestOptions = {}): Promise<Answer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
  const request = http.get({ port, path, host: "127.0.0.1", agent: false, ...how }, (response) => {
    let body = "";
    response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    response.once("end", () => resolve({ status: response.statusCode ?? 0, body }));
    response.once("error", () => resolve(undefined));
    response.once("close", () => resolve(undefined));
  });
  request.once("error", () => resolve(undefined));
  return promise;
}

/** Between two attempts. */
const RETRY_MS = 10;
/** A server that is not back by then does not come back. */
const PATIENCE_MS = 60_000;

/** Asks until the answer is 200. */
export async function askUntilOk(port: number, path: string, how: http.RequestOptions = {}): Promise<string> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  const signal = AbortSignal.timeout(PATIENCE_MS);
  for (;;) {
    const answer = await ask(port, path, { ...how, signal });
    if (answer?.status === 200) return answer.body;
    if (performance.now() > deadlineMs) throw new Error(`GET ${path} had no answer for ${PATIENCE_MS / 1_000} s`);
    await sleep(RETRY_MS);
  }
}
