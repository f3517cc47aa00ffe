// What a process has of NATS: buckets for the registry, and questions and answers in JSON. Survives the loss of the server: it reconnects for
// ever. Never decides anything about membership.

import { setTimeout as sleep } from "node:timers/promises";
import { errors, headers, type Msg, type NatsConnection, type Subscription } from "@nats-io/nats-core";
import { MeshError, messageOf } from "#proto";
import type { Kv } from "../kv/port.ts";
import type { LogLine } from "../log.ts";
import { encodeAnswer, encodeProblem, readAnswer } from "./answer.ts";
import { NatsBucket, requireVersion } from "./bucket.ts";
import { firstConnection, isNoResponders } from "./connection.ts";
import { MicroService } from "./micro-service.ts";

/** A compose file starts NATS and nodes at once; a server that is not there by then is missing, and the user should hear of it. */
const FIRST_CONNECT_MS = 5_000;
/** Long enough for one answer of a loaded server, short enough for two tries before a lease is suspended. */
const OPERATION_MS = 1_000;
/** Questions being answered at once; more are told `overloaded` instead of growing this process. */
const ANSWERS_PENDING_MAX = 1_000;

type Answer = (body: unknown) => Promise<unknown>;
type Stop = () => Promise<void>;
type Counted = (tookMs: number, error?: string) => void;

export interface ServiceEndpoint {
  readonly name: string;
  readonly subject: string;
  /** Of the servers with the same queue one answers; without a queue all do. */
  readonly queue?: string;
  readonly answer: Answer;
}

export interface NatsLink {
  /**
   * Opens the bucket, or makes it. `timeoutMs` bounds each operation. Throws `bad_config` when the server or the bucket that is there
   * cannot be used, `registry_unavailable` when JetStream does not answer.
   */
  bucket(name: string, options: { readonly replicas: number; readonly timeoutMs?: number }): Promise<Kv>;
  /** Asks one server. Throws the error it answered with, `timeout`, or `registry_unavailable` when nobody serves the subject. */
  request(subject: string, body: unknown, timeoutMs: number): Promise<unknown>;
  /** Asks all servers of the subject, until `expected` have answered or the time is up. Answers that are errors are in the list as MeshError. */
  requestMany(
    subject: string,
    body: unknown,
    options: { readonly timeoutMs: number; readonly expected: number },
  ): Promise<unknown[]>;
  /** Answers requests; what `answer` throws travels to the asker. Resolves once the server knows. */
  serve(subject: string, options: { readonly queue?: string }, answer: Answer): Promise<Stop>;
  /** Serves the endpoints so that `nats micro ls` shows them. `version` is a semantic version. */
  service(options: {
    readonly name: string;
    readonly version: string;
    readonly description: string;
    readonly endpoints: readonly ServiceEndpoint[];
  }): Promise<Stop>;
  /** Tells whoever listens, now or never. False: NATS is away, and nobody was told. */
  publish(subject: string, body: unknown): boolean;
  /** Returns a stop. */
  onStatus(listener: (status: "disconnected" | "reconnected") => void): () => void;
  close(): Promise<void>;
}

/** `url`: one server or several, separated by commas; a user and a password may stand in the first. */
export async function connectNats(
  url: string,
  options: { readonly name: string; readonly log?: LogLine; readonly firstConnectMs?: number },
): Promise<NatsLink> {
  const log: LogLine = options.log ?? (() => {});
  const nc = await firstConnection(url, options.name, options.firstConnectMs ?? FIRST_CONNECT_MS);
  const statusListeners = new Set<(status: "disconnected" | "reconnected") => void>();
  const buckets = new Set<NatsBucket>();
  const pending = { count: 0 };

  let connected = true;

  const watchStatus = async (): Promise<void> => {
    for await (const status of nc.status()) {
      if (status.type === "disconnect") {
        connected = false;
        log("warn", "NATS is away; reconnecting", { server: status.server });
        for (const listener of statusListeners) listener("disconnected");
      } else if (status.type === "reconnect") {
        connected = true;
        log("info", "NATS is back", { server: status.server });
        for (const bucket of buckets) bucket.reconnected();
        for (const listener of statusListeners) listener("reconnected");
      } else if (status.type === "error") {
        log("warn", `NATS: ${status.error.message}`);
      }
    }
  };
  void watchStatus();

  const subscribe = (subject: string, queue: string | undefined, onMessage: (message: Msg) => unknown): Subscription =>
    nc.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error) log("error", `cannot serve ${subject}: ${error.message}`);
        else void onMessage(message);
      },
    });
  // Not drained: that waits for the server, however long it is away. Answers under way are still sent.
  const stop = async (subscriptions: readonly Subscription[]): Promise<void> => {
    for (const subscription of subscriptions) subscription.unsubscribe();
    if (connected) await flush(nc);
  };

  return {
    async bucket(name, { replicas, timeoutMs = OPERATION_MS }) {
      requireVersion(nc, replicas);
      const bucket = new NatsBucket(nc, name, replicas, timeoutMs, log, () => buckets.delete(bucket));
      await bucket.open();
      buckets.add(bucket);
      return bucket;
    },

    async request(subject, body, timeoutMs) {
      try {
        return readAnswer((await nc.request(subject, JSON.stringify(body ?? null), { timeout: timeoutMs })).json());
      } catch (error) {
        throw askError(error, subject);
      }
    },

    async requestMany(subject, body, { timeoutMs, expected }) {
      const answers: unknown[] = [];
      if (expected < 1) return answers;
      try {
        const strategy = { strategy: "count", maxMessages: expected, maxWait: timeoutMs } as const;
        for await (const message of await nc.requestMany(subject, JSON.stringify(body ?? null), strategy)) {
          try {
            answers.push(readAnswer(message.json()));
          } catch (error) {
            answers.push(MeshError.from(error, "bad_frame"));
          }
        }
      } catch (error) {
        // Nobody serves it: no answers.
        if (!isNoResponders(error)) throw askError(error, subject);
      }
      return answers;
    },

    async serve(subject, { queue }, answer) {
      const subscription = subscribe(subject, queue, (message) => reply(message, answer, pending, log));
      await flush(nc);
      return () => stop([subscription]);
    },

    async service({ name, version, description, endpoints }) {
      const service = new MicroService({ name, version, description, endpoints });
      const counted = endpoints.map((endpoint) => {
        const count: Counted = (tookMs, error) => service.count(endpoint.name, tookMs, error);
        return subscribe(endpoint.subject, endpoint.queue, (message) =>
          reply(message, endpoint.answer, pending, log, count),
        );
      });
      const control = [...service.control].map(([subject, body]) =>
        subscribe(subject, undefined, (message) => message.respond(JSON.stringify(body()))),
      );
      await flush(nc);
      return () => stop([...counted, ...control]);
    },

    publish(subject, body) {
      // Kept back until NATS is there again, they would come in a flood, and fill memory until then.
      if (!connected || nc.isClosed()) return false;
      nc.publish(subject, JSON.stringify(body));
      return true;
    },

    onStatus(listener) {
      statusListeners.add(listener);
      return () => statusListeners.delete(listener);
    },

    async close() {
      for (const bucket of buckets) await bucket.close();
      statusListeners.clear();
      await nc.close();
    },
  };
}

async function reply(
  message: Msg,
  answer: Answer,
  pending: { count: number },
  log: LogLine,
  count: Counted = () => {},
): Promise<void> {
  const began = performance.now();
  const refuse = (error: MeshError): void => {
    // In the headers for askers that know `nats micro` and not us.
    const marks = headers();
    marks.set("Nats-Service-Error-Code", String(error.status));
    marks.set("Nats-Service-Error", error.code);
    message.respond(encodeProblem(error), { headers: marks });
    count(performance.now() - began, error.message);
  };
  if (pending.count >= ANSWERS_PENDING_MAX) {
    return refuse(new MeshError("overloaded", "this node answers too many questions at once; ask again later"));
  }
  pending.count++;
  try {
    message.respond(encodeAnswer(await answer(message.data.length === 0 ? null : message.json())));
    count(performance.now() - began);
  } catch (thrown) {
    try {
      refuse(MeshError.from(thrown, thrown instanceof SyntaxError ? "bad_request" : "internal"));
    } catch (failed) {
      // The connection is closed or the asker's subject is not valid; it will time out.
      log("warn", `an answer to ${message.subject} could not be sent: ${messageOf(failed)}`);
    }
  } finally {
    pending.count--;
  }
}

function askError(error: unknown, subject: string): MeshError {
  if (error instanceof MeshError) return error;
  if (error instanceof SyntaxError)
    return new MeshError("bad_frame", `the answer to ${subject} is not JSON`, { cause: error });
  if (isNoResponders(error)) {
    return new MeshError("registry_unavailable", `no node of the mesh answers ${subject}`, { cause: error });
  }
  if (error instanceof errors.TimeoutError)
    return new MeshError("timeout", `${subject} was not answered in time`, { cause: error });
  return MeshError.from(error, "registry_unavailable");
}

/** So that what was subscribed is known to the server; bounded, for a server may be away just now and learns of it later. */
async function flush(nc: NatsConnection): Promise<void> {
  const stop = new AbortController();
  await Promise.race([
    nc.flush().catch(() => {}),
    sleep(OPERATION_MS, undefined, { signal: stop.signal }).catch(() => {}),
  ]);
  stop.abort();
}
