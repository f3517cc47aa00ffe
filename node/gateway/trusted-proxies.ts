// Who a client is and what it asked for, when proxies stand between it and us. What a header says is believed only when the connection comes
// from an address that the operator named, and in the list of hops only up to the first address that the operator did not name: everything
// to the left of it may be the client's own invention.

import type { IncomingMessage } from "node:http";
import { BlockList, isIP, type Socket } from "node:net";
import { MeshError } from "#proto";

/**
 * Which headers the proxies write. Never both: a proxy that writes one kind passes the other on as the client made it up. `x-forwarded`:
 * X-Forwarded-For, -Proto and -Host, what nearly all write. `forwarded`: RFC 7239.
 */
export type ProxyHeaders = "x-forwarded" | "forwarded";

export interface Origin {
  /** Address of the client; "" when it is gone already. */
  readonly ip: string;
  readonly protocol: "http" | "https";
  /** Undefined: as the Host header says. */
  readonly host: string | undefined;
}

interface Hop {
  readonly ip: string | undefined;
  readonly protocol: string | undefined;
  readonly host: string | undefined;
}

/** Undefined: there are none. Throws `bad_config`. */
export function trustedProxiesOf(config: {
  readonly trustedProxies: readonly string[];
  readonly proxyHeaders: ProxyHeaders;
}): TrustedProxies | undefined {
  const { trustedProxies, proxyHeaders } = config;
  return trustedProxies.length === 0 ? undefined : new TrustedProxies(trustedProxies, proxyHeaders);
}

export class TrustedProxies {
  readonly #trusted = new BlockList();
  readonly #headers: ProxyHeaders;

  /** Throws `bad_config`. */
  constructor(ranges: readonly string[], headers: ProxyHeaders) {
    this.#headers = headers;
    for (const range of ranges) addRange(this.#trusted, range);
  }

  originOf(request: IncomingMessage): Origin {
    const peer = addressOf(request.socket);
    if (!this.#trusts(peer)) return { ip: peer, protocol: "http", host: undefined };
    const hops = this.#headers === "forwarded" ? forwardedHops(request) : xForwardedHops(request);
    let ip = peer;
    let hop: Hop | undefined;
    // The last hop is what our own peer says; each further one is worth what the address before it is worth.
    for (let at = hops.length - 1; at >= 0 && this.#trusts(ip); at--) {
      hop = hops[at];
      // A name that the proxy made up for a client that it does not want to tell.
      if (hop?.ip === undefined) break;
      ip = hop.ip;
    }
    const protocol = hop?.protocol?.toLowerCase() === "https" ? "https" : "http";
    return { ip, protocol, host: hop?.host };
  }

  #trusts(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#trusted.check(address, family === 6 ? "ipv6" : "ipv4");
  }
}

/** Node keeps it once it was asked. An IPv4 client of a socket for both families is an IPv4 client. */
export function addressOf(socket: Socket): string {
  return plainAddress(socket.remoteAddress ?? "");
}

/** Throws `bad_config`. */
function addRange(list: BlockList, range: string): void {
  const [address = "", prefix, ...rest] = range.split("/");
  const family = isIP(address);
  const bits = prefix === undefined ? (family === 6 ? 128 : 32) : /^\d{1,3}$/.test(prefix) ? Number(prefix) : NaN;
  if (family === 0 || rest.length > 0 || !(bits <= (family === 6 ? 128 : 32))) {
    throw new MeshError(
      "bad_config",
      `MESH_TRUSTED_PROXIES must list addresses and ranges, such as "10.0.0.0/8, 192.0.2.7, fd00::/8", not "${range}"`,
    );
  }
  list.addSubnet(address, bits, family === 6 ? "ipv6" : "ipv4");
}

/** One hop for each address of X-Forwarded-For. Of protocols and hosts there may be fewer: many proxies overwrite those. */
function xForwardedHops({ headers }: IncomingMessage): Hop[] {
  const addresses = listOf(headers["x-forwarded-for"]);
  const protocols = listOf(headers["x-forwarded-proto"]);
  const hosts = listOf(headers["x-forwarded-host"]);
  const fromRight = (list: readonly string[], back: number): string | undefined =>
    list[Math.max(0, list.length - back)];
  // A proxy that tells the protocol and no address is one hop as well.
  const count = Math.max(addresses.length, Math.min(1, protocols.length + hosts.length));
  return Array.from({ length: count }, (_, at) => {
    const back = count - at;
    return {
      ip: addressIn(addresses[at]),
      protocol: fromRight(protocols, back),
      host: fromRight(hosts, back),
    };
  });
}

function forwardedHops({ headers }: IncomingMessage): Hop[] {
  return splitOutsideQuotes(headers.forwarded ?? "", ",").map((element) => {
    const pairs = new Map(
      splitOutsideQuotes(element, ";").map((pair) => {
        const equals = pair.indexOf("=");
        return [pair.slice(0, equals).trim().toLowerCase(), unquoted(pair.slice(equals + 1).trim())];
      }),
    );
    return { ip: addressIn(pairs.get("for")), protocol: pairs.get("proto"), host: pairs.get("host") };
  });
}

function listOf(header: string | string[] | undefined): string[] {
  if (header === undefined) return [];
  return String(header)
    .split(",")
    .map((entry) => entry.trim());
}

/** An address with or without a port; undefined when it is none. */
function addressIn(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const address = /^\[(.+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  return isIP(address) === 0 ? undefined : plainAddress(address);
}

const MAPPED = "::ffff:";

function plainAddress(address: string): string {
  const mapped = address.startsWith(MAPPED) && address.includes(".");
  return mapped ? address.slice(MAPPED.length) : address;
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts: string[] = [];
  let from = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\" && quoted) at++;
    else if (text[at] === '"') quoted = !quoted;
    else if (text[at] === separator && !quoted) {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
  }
  parts.push(text.slice(from));
  // A client that opens a quote and does not close it must not swallow what the proxy has written behind.
  return (quoted ? text.split(separator) : parts).map((part) => part.trim()).filter((part) => part !== "");
}

function unquoted(text: string): string {
  return text.startsWith('"') && text.endsWith('"') && text.length > 1
    ? text.slice(1, -1).replace(/\\(.)/g, "$1")
    : text;
}
