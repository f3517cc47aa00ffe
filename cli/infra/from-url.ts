// The server that the environment names. It is probed once, so that a wrong address is one clear sentence now and not a
// time-out in every node later. Never started, never stopped.

import { MeshError } from "#proto";
import type { Found, InfraWish } from "./find.ts";
import type { InfraNeed } from "./need.ts";
import { answers } from "./port.ts";

/** Longer than a slow name server needs; shorter than a person's patience. */
const PROBE_MS = 3_000;

/** Throws `bad_config` when the variable names no address, `registry_unavailable` when nothing answers there. */
export async function fromUrl(need: InfraNeed, wish: InfraWish): Promise<Found> {
  const value = wish.env[need.variable];
  if (value === undefined || value === "") return { found: false, why: `${need.variable} is not set` };
  if (!(await anyAnswers(value, need))) {
    throw new MeshError("registry_unavailable", `nothing answers at ${need.variable}=${withoutPassword(value)}`);
  }
  return {
    found: true,
    infra: {
      url: value,
      how: `${need.name} at ${withoutPassword(value)} (${need.variable})`,
      lost: new Promise(() => {}),
      stop: async () => {},
    },
  };
}

/** True when one of the servers, separated by commas, takes connections. Throws `bad_config` when one is no address. */
export async function anyAnswers(urls: string, need: InfraNeed): Promise<boolean> {
  const addresses = urls.split(",").map((part) => addressOf(part.trim(), need));
  const open = await Promise.all(addresses.map(({ host, port }) => answers(host, port, PROBE_MS)));
  return open.includes(true);
}

/** User and password of an URL must not reach a terminal or a log. */
export function withoutPassword(url: string): string {
  return url.replaceAll(/\/\/[^/@]*@/g, "//***@");
}

function addressOf(text: string, need: InfraNeed): { host: string; port: number } {
  const url = URL.parse(text.includes("://") ? text : `${need.scheme}://${text}`);
  if (url === null || url.hostname === "") {
    throw new MeshError(
      "bad_config",
      `${need.variable} must look like ${need.scheme}://127.0.0.1:${need.defaultPort}, not "${withoutPassword(text)}"`,
    );
  }
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? need.defaultPort : Number(url.port),
  };
}
