// Cross-origin requests of web pages: answers the browser's question whether a page may ask, and says in each answer who may read it.
// Sessions and hooks hear nothing of the question: it comes without credentials, so nobody could judge it.

import type { IncomingMessage } from "node:http";
import type { SessionReply } from "#mesh";
import type { ResolvedCors } from "../session/edge-options.ts";

export class Cors {
  readonly #options: ResolvedCors;

  constructor(options: ResolvedCors) {
    this.#options = options;
  }

  /** The answer to a preflight request; undefined when it is none. @param url as the client asked for it */
  preflight({ method, headers }: IncomingMessage, url: string): SessionReply | undefined {
    const wanted = headers["access-control-request-method"];
    if (method !== "OPTIONS" || headers.origin === undefined || wanted === undefined) return undefined;
    const { methods, headers: allowed, maxAge } = this.#options;
    const list = [...this.#whoMay(headers.origin, url), "vary", "access-control-request-headers"];
    // Without the first of these the browser looks at no other.
    list.push("access-control-allow-methods", methods, "access-control-max-age", maxAge);
    const asked = allowed ?? headers["access-control-request-headers"];
    if (typeof asked === "string" && asked !== "") list.push("access-control-allow-headers", asked);
    return { status: 204, statusText: "", headers: list, body: null };
  }

  /** For the answer to any other request. */
  headersFor({ headers }: IncomingMessage, url: string): readonly string[] {
    const { exposeHeaders } = this.#options;
    const list = this.#whoMay(headers.origin, url);
    if (exposeHeaders !== undefined) list.push("access-control-expose-headers", exposeHeaders);
    return list;
  }

  #whoMay(origin: string | undefined, url: string): string[] {
    const { origins, credentials } = this.#options;
    if (origins === undefined) return ["access-control-allow-origin", "*"];
    // Also where it is not allowed: a cache must not give this answer to a page that is.
    if (origin === undefined || !origins.allows(origin, url)) return ["vary", "origin"];
    const list = ["vary", "origin", "access-control-allow-origin", origin];
    if (credentials) list.push("access-control-allow-credentials", "true");
    return list;
  }
}
