// A pair of workers in this process, joined by a real gRPC link on loopback, with a service that the test scripts.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";
import {
  createLinks,
  listenLinks,
  type ClientEnd,
  type LinkListener,
  type LinkService,
  type Links,
  type LinksOptions,
  type ListenLinksOptions,
} from "#mesh";
import type { Member, WorkerId } from "#proto";
import { asker, host, memberAt } from "./members.ts";

export { asker, callOf, host, memberAt, options } from "./members.ts";

export interface Pair {
  readonly links: Links;
  readonly listener: LinkListener;
  /** The host as the asker's view has it. */
  readonly member: Member;
}

/** `over`: which of the two transports the asker uses. Everything closes with the test. */
export async function pair(
  service: Partial<LinkService>,
  over: "tcp" | "unix" = "unix",
  apart?: ListenLinksOptions["apart"],
): Promise<Pair> {
  const listener = await listen(service, apart);
  return { links: asking(), listener, member: memberAt(listener, over) };
}

export function asking(self: WorkerId = asker, mesh = "test", log?: LinksOptions["log"]): Links {
  const links = createLinks({ self, mesh, machine: "here", epoch: () => 7, ...(log && { log }) });
  onTestFinished(() => links.close());
  return links;
}

export async function listen(
  service: Partial<LinkService>,
  apart?: ListenLinksOptions["apart"],
): Promise<LinkListener> {
  const folder = await mkdtemp(path.join(tmpdir(), "link-"));
  const listener = await listenLinks({
    self: host,
    mesh: "test",
    bind: "127.0.0.1",
    socketPath: path.join(folder, "b.sock"),
    epoch: () => 7,
    ...(apart && { apart }),
    service: {
      admit: () => Promise.resolve(true),
      call: () => ({ status: "moved", worker: undefined, epoch: 7 }),
      connect: () => ({ status: "moved", worker: undefined, epoch: 7 }),
      ask: () => ({ ok: true, sessions: [], more: false }),
      ...service,
    },
  });
  onTestFinished(async () => {
    await listener.close();
    await rm(folder, { recursive: true, force: true });
  });
  return listener;
}

/** A source that counts how much was pulled from it. `endless` when `bytes` is Infinity. */
export function counted(bytes: number, chunkBytes = 64 * 1024) {
  const state = {
    pulledBytes: 0,
    cancelled: undefined as unknown,
    stream: undefined as unknown as ReadableStream<Uint8Array>,
  };
  state.stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const size = Math.min(chunkBytes, bytes - state.pulledBytes);
        if (size <= 0) return controller.close();
        const chunk = new Uint8Array(size);
        for (let at = 0; at < size; at += 4_096) chunk[at] = (state.pulledBytes + at) / 4_096;
        state.pulledBytes += size;
        controller.enqueue(chunk);
      },
      cancel(reason) {
        state.cancelled = reason ?? "cancelled";
      },
    },
    { highWaterMark: 0 },
  );
  return state;
}

export async function lengthOf(body: unknown): Promise<number> {
  if (body === null) return 0;
  if (typeof body === "string") return Buffer.byteLength(body);
  if (body instanceof Uint8Array) return body.byteLength;
  if (!(body instanceof ReadableStream)) throw new Error("not a body of a link");
  let bytes = 0;
  for await (const chunk of body) bytes += chunk.byteLength;
  return bytes;
}

export async function textOf(body: unknown): Promise<string> {
  if (body === null) return "";
  if (typeof body === "string") return body;
  if (body instanceof Uint8Array) return Buffer.from(body).toString();
  if (!(body instanceof ReadableStream)) throw new Error("not a body of a link");
  return await new Response(body).text();
}

/** A client of a gateway that keeps what it is sent. `buffered` is what the test says. */
export class FakeClient implements ClientEnd {
  readonly sent: (string | Uint8Array)[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;
  buffered = 0;
  #waiting: (() => void)[] = [];

  send(data: string | Uint8Array): void {
    this.sent.push(data);
    this.#notify();
  }

  close(code: number, reason: string): void {
    this.closed = { code, reason };
    this.#notify();
  }

  /** Resolves when `condition` holds; looked at after each event. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #notify(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** A value that is told once. */
export function signal<T = void>() {
  return Promise.withResolvers<T>();
}
