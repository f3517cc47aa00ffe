// Which packages are used, what each is asked, and what has to come of it. `uses/<name>.js` does the work inside a session.

export interface Ask {
  /** Behind `/sessions/<name>/s`. */
  readonly path?: string;
  readonly init?: RequestInit;
  /** The text of the answer, or that of its JSON. */
  readonly answer: unknown;
  /** Headers that it must have. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Row {
  readonly asks: readonly Ask[];
  /** Among those that .ci/run uses. */
  readonly quick?: boolean;
  /** What it needs of the machine; without it the row is skipped, and that is said. */
  readonly needs?: "redis" | "postgres";
  /** Adds to built-in objects when it is imported: a handler that imports it first is answered with 500. docs/isolation.md names it. */
  readonly lateFails?: boolean;
  /** Replaces what all others use, so it has a node to itself. */
  readonly alone?: boolean;
}

const one = (answer: unknown, more: Omit<Row, "asks"> = {}): Row => ({ asks: [{ answer }], ...more });
const post = (body: string, type = "application/json"): RequestInit => ({
  method: "POST",
  body,
  headers: { "content-type": type },
});

export const packages: Readonly<Record<string, Row>> = {
  hono: {
    quick: true,
    asks: [
      { path: "/hello/me", answer: { hello: "me" }, headers: { etag: '"*"', "access-control-allow-origin": "*" } },
      {
        path: "/events",
        answer: "data: 0\n\ndata: 1\n\ndata: 2\n\n",
        headers: { "content-type": "text/event-stream" },
      },
      { path: "/large", init: { headers: { "accept-encoding": "gzip" } }, answer: "large".repeat(1_000) },
      { path: "/cookie", init: { headers: { cookie: "a=1" } }, answer: "1", headers: { "set-cookie": "b=2; Path=/" } },
      { path: "/body", init: post('{"a":1}'), answer: { a: 1 } },
    ],
  },
  h3: {
    quick: true,
    asks: [
      { path: "/hello/me?q=1", answer: { hello: "me", q: "1" } },
      { path: "/body", init: post('{"a":1}'), answer: { a: 1 } },
      { path: "/stream", answer: "streamed" },
    ],
  },
  "itty-router": {
    asks: [
      { path: "/hello/me", answer: { hello: "me" } },
      { path: "/body", init: post('{"a":1}'), answer: { a: 1 } },
    ],
  },
  "graphql-yoga": {
    asks: [
      {
        path: "/graphql",
        init: post('{"query":"{ hello(name: \\"me\\") }"}'),
        answer: { data: { hello: "hello me" } },
      },
    ],
  },
  trpc: {
    quick: true,
    asks: [
      { path: "/trpc/hello?input=%22me%22", answer: { result: { data: "hello me" } } },
      { path: "/trpc/add", init: post("[1,2]"), answer: { result: { data: 3 } } },
    ],
  },
  zod: one({ parsed: { name: "me", age: 3 }, issues: ["age"] }, { quick: true }),
  ai: { quick: true, asks: [{ answer: "Hello, world" }] },
  openai: one({ text: "Hello, world", error: "connection" }, { quick: true }),
  undici: one({ text: "echo", pooled: "echo" }),
  axios: one({ http: { a: 1 }, fetch: { a: 1 }, status: 404 }, { quick: true }),
  got: one({ json: { a: 1 }, promised: { a: 1 }, streamed: "echo" }),
  yjs: one({ text: "hello world", map: { a: 1 } }, { quick: true }),
  automerge: one({ cards: ["a", "b"], title: "both" }),
  "colyseus-schema": one({ p1: { x: 1, y: 2 } }, { lateFails: true }),
  "matter-js": one({ fell: true, bodies: 2 }),
  rxjs: one([20, 40]),
  immer: one({ before: [1], after: [1, 2], map: [["a", 1]] }),
  ioredis: one({ value: "1", piped: [1, 2], heard: "message" }, { quick: true, needs: "redis" }),
  pg: one({ rows: [{ n: 3 }], pooled: "text", refused: "22012" }, { needs: "postgres" }),
  jose: one({ subject: "me", decrypted: "secret", forged: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" }),
  sharp: one({ width: 4, height: 2, format: "png" }),
  "socket-io": one({ answered: "hello me" }),
  ws: one({ echoed: "hello" }),
  pino: one({ level: 30, msg: "hello", a: 1, child: "c" }, { quick: true }),
  winston: one({ level: "info", message: "hello", a: 1 }),
  "reflect-metadata": one({ engine: "V8", type: "String" }, { lateFails: true }),
  zone: one({ zone: "mine", later: "mine" }, { lateFails: true, alone: true }),
};
