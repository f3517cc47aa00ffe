// Finds or starts a server that the mesh needs. Sources are asked in order: the environment names one; the binary on this machine;
// a container; Debian's package. Each says why it cannot help, so that the last error tells the whole story at once.

import { MeshError } from "#proto";
import { fromApt } from "./from-apt.ts";
import { fromBinary } from "./from-binary.ts";
import { fromContainer } from "./from-container.ts";
import { fromUrl } from "./from-url.ts";
import type { InfraNeed } from "./need.ts";

/** A server in use. */
export interface Infra {
  readonly url: string;
  /** For people: `nats-server 2.9.10 on PATH`. */
  readonly how: string;
  /** Resolves, with the reason, when a server that we started ends without being told to. Never for one that was there before. */
  readonly lost: Promise<string>;
  /** Ends what was started, and nothing that was there before. Idempotent; resolves within seconds. */
  readonly stop: () => Promise<void>;
}

export interface InfraWish {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** 0 picks a free one. */
  readonly port: number;
  /** Where the server keeps its data; undefined: a fresh temporary folder that is removed at the end. */
  readonly storeDir: string | undefined;
  /** One line for people, before anything slow or lasting happens. */
  readonly say: (message: string) => void;
}

export type Found = { readonly found: true; readonly infra: Infra } | { readonly found: false; readonly why: string };

/** MAY throw when the source is there and broken; then nothing is searched further: a person's wish must not be replaced silently. */
export type InfraSource = (need: InfraNeed, wish: InfraWish) => Promise<Found>;

const SOURCES: readonly InfraSource[] = [fromUrl, fromBinary, fromContainer, fromApt];

/** Throws `registry_unavailable` with what to install. */
export async function findInfra(
  need: InfraNeed,
  wish: InfraWish,
  sources: readonly InfraSource[] = SOURCES,
): Promise<Infra> {
  const reasons: string[] = [];
  for (const source of sources) {
    const answer = await source(need, wish);
    if (answer.found) {
      wish.say(`using ${answer.infra.how}`);
      return answer.infra;
    }
    reasons.push(answer.why);
  }
  throw new MeshError("registry_unavailable", `no ${need.name} found: ${reasons.join("; ")}.\n${need.install}.`);
}
