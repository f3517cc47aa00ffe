// The web origins that an application knows: pages of these may open WebSockets, or read answers. Browsers say truthfully which page asks;
// other clients say what they like, so this protects users of browsers and nobody else.

import { MeshError } from "#proto";

const WILDCARD = /^(https?:\/\/)\*(\.[a-z0-9.-]+(?::\d{1,5})?)$/;

export class OriginList {
  readonly #exact = new Set<string>();
  readonly #wild: { readonly start: string; readonly end: string }[] = [];
  #self = false;

  /**
   * @param entries origins as browsers send them, `https://*.example.com` for all names below a domain, and `self` for the gateway's own
   * @param path where they are written, for the error
   * @param code of the error that is thrown
   */
  constructor(entries: readonly unknown[], path: string, code: "bad_app" | "bad_config" = "bad_app") {
    for (const entry of entries) this.#add(entry, path, code);
  }

  /** @param url of the request, as its client asked for it */
  allows(origin: string, url: string): boolean {
    if (this.#exact.has(origin)) return true;
    if (this.#self && URL.parse(url)?.origin === origin) return true;
    return this.#wild.some(
      ({ start, end }) => origin.length > start.length + end.length && origin.startsWith(start) && origin.endsWith(end),
    );
  }

  #add(entry: unknown, path: string, code: "bad_app" | "bad_config"): void {
    if (entry === "self") {
      this.#self = true;
      return;
    }
    const wild = typeof entry === "string" ? WILDCARD.exec(entry) : null;
    if (wild !== null) this.#wild.push({ start: wild[1] ?? "", end: wild[2] ?? "" });
    else if (typeof entry === "string" && URL.parse(entry)?.origin === entry) this.#exact.add(entry);
    else {
      const like = `"https://app.example.com", "https://*.example.com" or "self"`;
      throw new MeshError(
        code,
        `${path} lists origins, without path or slash at the end, such as ${like}, not ${shown(entry)}`,
      );
    }
  }
}

function shown(entry: unknown): string {
  return typeof entry === "string" ? `"${entry}"` : typeof entry;
}
