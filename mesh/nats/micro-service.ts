// What one service tells `nats micro ls`, `info` and `stats` about itself: the bodies of the `$SRV` protocol of NATS (ADR-32) and
// the counts in them. No I/O. The client's own package for it is built against another release of the client, whose types do not
// fit ours without casts, and it would bring a second copy of the client; the protocol is three small documents.

import { randomUUID } from "node:crypto";

interface EndpointPlace {
  readonly name: string;
  readonly subject: string;
  readonly queue?: string;
}

export class MicroService {
  readonly #identity: Readonly<Record<string, unknown>>;
  readonly #description: string;
  readonly #started = new Date().toISOString();
  readonly #endpoints = new Map<string, EndpointCount>();
  /** The subjects to answer, each with the body that is due now. All instances answer: no queue. */
  readonly control: ReadonlyMap<string, () => unknown>;

  /** `version` is a semantic version; `name` is of letters, digits, `-` and `_`. */
  constructor(options: { name: string; version: string; description: string; endpoints: readonly EndpointPlace[] }) {
    const id = randomUUID();
    this.#identity = { name: options.name, id, version: options.version, metadata: {} };
    this.#description = options.description;
    for (const place of options.endpoints) this.#endpoints.set(place.name, new EndpointCount(place));
    const bodies = { PING: () => this.#ping(), INFO: () => this.#info(), STATS: () => this.#stats() };
    this.control = new Map(
      Object.entries(bodies).flatMap(([verb, body]) => [
        [`$SRV.${verb}`, body],
        [`$SRV.${verb}.${options.name}`, body],
        [`$SRV.${verb}.${options.name}.${id}`, body],
      ]),
    );
  }

  /** One request of an endpoint was answered. */
  count(endpoint: string, tookMs: number, error?: string): void {
    this.#endpoints.get(endpoint)?.add(tookMs, error);
  }

  #ping(): unknown {
    return { type: "io.nats.micro.v1.ping_response", ...this.#identity };
  }

  #info(): unknown {
    const endpoints = [...this.#endpoints.values()].map((endpoint) => endpoint.info());
    return { type: "io.nats.micro.v1.info_response", ...this.#identity, description: this.#description, endpoints };
  }

  #stats(): unknown {
    const endpoints = [...this.#endpoints.values()].map((endpoint) => endpoint.stats());
    return { type: "io.nats.micro.v1.stats_response", ...this.#identity, started: this.#started, endpoints };
  }
}

class EndpointCount {
  readonly #place: EndpointPlace;
  #requests = 0;
  #errors = 0;
  #lastError = "";
  #tookMs = 0;

  constructor(place: EndpointPlace) {
    this.#place = place;
  }

  add(tookMs: number, error: string | undefined): void {
    this.#requests++;
    this.#tookMs += tookMs;
    if (error === undefined) return;
    this.#errors++;
    this.#lastError = error;
  }

  info(): Record<string, unknown> {
    const { name, subject, queue = "" } = this.#place;
    return { name, subject, queue_group: queue, metadata: {} };
  }

  stats(): Record<string, unknown> {
    const { name, subject, queue = "" } = this.#place;
    // In nanoseconds, as the protocol has it.
    const took = Math.round(this.#tookMs * 1e6);
    return {
      name,
      subject,
      queue_group: queue,
      num_requests: this.#requests,
      num_errors: this.#errors,
      last_error: this.#lastError,
      processing_time: took,
      average_processing_time: this.#requests === 0 ? 0 : Math.round(took / this.#requests),
    };
  }
}
