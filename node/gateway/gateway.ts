// The HTTP and WebSocket edge of a worker. It parses, limits, finds the session that a request means, and hands both to the router.
// A request that is answered at once costs no promise and no listener; all others are an Exchange or a Joining. It knows nothing of
// where sessions live, and session code never runs in it.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createNetServer, Socket, type Server as NetServer } from "node:net";
import type { Duplex } from "node:stream";
import { Roster, SessionCall, systemClock, type SessionReply } from "#mesh";
import { MeshError } from "#proto";
import type { Log } from "../log.ts";
import type { KindHooks, ProtocolChoice } from "../session/admission.ts";
import type { ResolvedEdge } from "../session/edge-options.ts";
import type { OriginList } from "../session/origin-list.ts";
import type { ClientErrors } from "../session/failure-text.ts";
import type { MeshSessions } from "../session/stub.ts";
import { turns } from "../session/turns.ts";
import { ApplicationRouter } from "./application-router.ts";
import { ClientSocket } from "./client-socket.ts";
import { Cors } from "./cors.ts";
import { Door } from "./door.ts";
import { Exchange, invalidHead, type Waiting } from "./exchange.ts";
import { HandshakePace } from "./handshake-pace.ts";
import { Heartbeat } from "./heartbeat.ts";
import { KeptConnections } from "./kept-connections.ts";
import { gatewayLimits, type GatewayLimits } from "./limits.ts";
import { listenOn } from "./listen.ts";
import { answerMalformed, endWithProblem } from "./malformed.ts";
import type { EdgeApplication, GatewayRouter } from "./port.ts";
import { RequestBody } from "./request-body.ts";
import { HEADER_COUNT_MAX, readHead, type RequestHead } from "./request-head.ts";
import { networkOf, RateLimit } from "./rate-limit.ts";
import { addToHead, writeReply } from "./response-writer.ts";
import { matchSessionPath } from "./session-path.ts";
import { isHealthCheck, NO_BODY, resolve, type BodySource, type Routing } from "./routes.ts";
import { SMALL_BODY_BYTES_MAX, SmallBody } from "./small-body.ts";
import { chooseProtocol } from "./sub-protocol.ts";
import { TornRequest, type FailTorn } from "./torn-request.ts";
import type { TrustedProxies } from "./trusted-proxies.ts";
import { checkHandshake, Joining, responseOn, WebSocketServers } from "./upgrade.ts";

export type { EdgeApplication, GatewayRouter } from "./port.ts";

export interface GatewayOptions {
  readonly router: GatewayRouter;
  readonly log: Log;
  /** With a router of its own, if it has one; it then needs `sessions`. */
  readonly application?: EdgeApplication;
  /** Stubs for the application's `fetch`. */
  readonly sessions?: MeshSessions;
  /** What clients are told of errors of the application. Default: `brief`. */
  readonly clientErrors?: ClientErrors;
  readonly limits?: Partial<GatewayLimits>;
  /** In front of the gateway. Undefined: none. */
  readonly proxies?: TrustedProxies | undefined;
  /** In the place of the application's own `origins`. */
  readonly allowedOrigins?: OriginList | undefined;
}

export interface GatewayStats {
  /** WebSockets that are open. */
  readonly sockets: number;
  /** Requests and handshakes that wait for an answer or stream one. */
  readonly inFlight: number;
  /** Requests and handshakes since the start. */
  readonly requests: number;
}

export interface Gateway {
  /** The port it took. Rejects `bad_config` when it cannot have the one asked for. */
  listen(where: { readonly port: number; readonly bind: string }): Promise<number>;
  /** Takes connections at a port, too, at which others listen as well. */
  share(where: { readonly port: number; readonly bind: string }): Promise<void>;
  /** New clients are to go to the others. */
  unshare(): void;
  /** Takes no more connections, lets requests finish and sockets close for `graceMs`, then ends what is left; sockets with 1012. */
  close(how: { readonly graceMs: number }): Promise<void>;
  readonly stats: GatewayStats;
}

/** Throws `bad_config` when the application routes by itself and there are no stubs for it. */
export function createGateway(options: GatewayOptions): Gateway {
  return new HttpGateway(options);
}

/** How late a time-out may be noticed. */
const SWEEP_MS = 250;
/** For requests that no session's own limit covers: the application's `fetch` and the creation of sessions. */
const OWN_TIMEOUT_MS = 60_000;
/** WebSocket close code "service restart": reconnect. */
const CLOSE_RESTART = 1012;
/** How long a client may take to answer that close. */
const GOODBYE_MS = 1_000;
const ALWAYS = (): boolean => true;
const NO_EDGE: ResolvedEdge = { origins: undefined, cors: undefined, perAddress: undefined, perSession: undefined };
const NO_HOOKS: KindHooks = { onBeforeRequest: undefined, onBeforeConnect: undefined };
/** Not a closure of whoever listens: a socket that stays open would keep all that the closure sees. */
const ignore = (): void => {};

class HttpGateway implements Gateway {
  readonly #router: GatewayRouter;
  readonly #log: Log;
  readonly #proxies: TrustedProxies | undefined;
  readonly #routing: Routing;
  readonly #origins: OriginList | undefined;
  readonly #cors: Cors | undefined;
  readonly #perAddress: RateLimit | undefined;
  readonly #protocolsOf: (kind: string) => ProtocolChoice | undefined;
  readonly #application: ApplicationRouter | undefined;
  readonly #server: Server;
  readonly #webSocketServers = new WebSocketServers();
  readonly #heartbeat = new Heartbeat();
  readonly #pace = new HandshakePace(systemClock, Math.random, () => this.#doneForOthers());
  /** Bounded by the connections: HTTP/1.1 answers in order, and a socket joins once. */
  readonly #waiting = new Roster<Waiting>();
  readonly #kept: KeptConnections;
  readonly #sweeper: NodeJS.Timeout;
  #requests = 0;
  #handshakes = 0;
  #closing = false;
  #shared: NetServer | undefined;
  #closed: Promise<void> | undefined;
  #whenIdle: (() => void) | undefined;

  constructor({ router, log, application, sessions, clientErrors, limits, proxies, allowedOrigins }: GatewayOptions) {
    this.#router = router;
    this.#proxies = proxies;
    this.#log = log;
    const door = new Door({
      authorize: application?.authorize,
      hooksOf: (kind) => application?.hooksOf?.(kind) ?? NO_HOOKS,
      log,
    });
    const { origins, cors, perAddress, perSession } = application?.edge ?? NO_EDGE;
    this.#origins = allowedOrigins ?? origins;
    this.#cors = cors === undefined ? undefined : new Cors(cors);
    const now = (): number => systemClock.now();
    this.#perAddress = perAddress === undefined ? undefined : new RateLimit(perAddress, "from your address", now);
    this.#protocolsOf = (kind) => application?.hooksOf?.(kind).protocols;
    this.#routing = {
      router,
      door,
      perSession: perSession === undefined ? undefined : new RateLimit(perSession, "to this session", now),
    };
    if (application?.fetch !== undefined) {
      if (sessions === undefined) throw new MeshError("bad_config", "an application with its own fetch needs stubs");
      this.#application = new ApplicationRouter({
        fetch: application.fetch,
        sessions,
        routing: this.#routing,
        log,
        clientErrors,
      });
    }
    const { headersTimeoutMs, keepAliveMs, headerBytesMax } = { ...gatewayLimits, ...limits };
    this.#server = createServer({
      headersTimeout: headersTimeoutMs,
      connectionsCheckingInterval: Math.ceil(headersTimeoutMs / 2),
      // An upload may take as long as it likes while it moves; one that stalls is cut off by its exchange.
      requestTimeout: 0,
      keepAliveTimeout: 0,
      maxHeaderSize: headerBytesMax,
      insecureHTTPParser: false,
      noDelay: true,
      // Most requests have no body, and a stream for none costs as much as routing the request.
      optimizeEmptyRequests: true,
    });
    // Node drops headers beyond the limit without a word: one more than we allow shows that there are too many.
    this.#server.maxHeadersCount = HEADER_COUNT_MAX + 1;
    this.#kept = new KeptConnections(keepAliveMs, () => this.#busy());
    this.#server.on("connection", (socket) => this.#kept.add(socket));
    this.#server.on("request", (request, response) => this.#serve(request, response, undefined));
    this.#server.on("checkContinue", (request, response) => this.#serve(request, response, response));
    this.#server.on("upgrade", (request, socket, head) => this.#join(request, socket, head));
    this.#server.on("clientError", answerMalformed);
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
    this.#sweeper.unref();
  }

  get stats(): GatewayStats {
    return { sockets: this.#heartbeat.size, inFlight: this.#waiting.size, requests: this.#requests };
  }

  async listen(where: { readonly port: number; readonly bind: string }): Promise<number> {
    return listenOn(this.#server, where);
  }

  async share(where: { readonly port: number; readonly bind: string }): Promise<void> {
    // As Node makes those of its own HTTP server.
    const shared = createNetServer({ allowHalfOpen: true, noDelay: true });
    shared.on("connection", (socket) => this.#server.emit("connection", socket));
    await listenOn(shared, { ...where, shared: true });
    if (this.#closing) shared.close();
    else this.#shared = shared;
  }

  unshare(): void {
    this.#shared?.close();
    this.#shared = undefined;
  }

  close({ graceMs }: { readonly graceMs: number }): Promise<void> {
    this.#closed ??= this.#close(graceMs);
    return this.#closed;
  }

  #serve(request: IncomingMessage, response: ServerResponse, continueWith: ServerResponse | undefined): void {
    this.#requests++;
    try {
      const head = readHead(request, this.#proxies);
      if (this.#isAnswered(request, response, head)) return;
      if (head.bodyBytes === 0) {
        this.#dispatch(request, response, head, undefined, NO_BODY);
      } else if (head.bodyBytes > 0 && head.bodyBytes <= SMALL_BODY_BYTES_MAX && continueWith === undefined) {
        const whole = (body: BodySource): void => this.#dispatch(request, response, head, undefined, body);
        this.#waiting.add(new SmallBody(request, head.bodyBytes, { whole, over: this.#forget }));
      } else {
        const body = new RequestBody(request, head.bodyBytes, continueWith);
        this.#dispatch(request, response, head, body, body);
      }
    } catch (error) {
      this.#exchange(request, response, undefined, OWN_TIMEOUT_MS).fail(error);
    }
  }

  /** What needs no session and no application: preflights, and too many requests of one client. Health checks are nobody's. */
  #isAnswered(request: IncomingMessage, response: ServerResponse, head: RequestHead): boolean {
    if (isHealthCheck(head.target)) return false;
    if (this.#cors !== undefined) addToHead(response, this.#cors.headersFor(request, head.url));
    this.#perAddress?.take(networkOf(head.ip));
    const preflight = this.#cors?.preflight(request, head.url);
    if (preflight === undefined) return false;
    writeReply(response, "OPTIONS", preflight, this.#closing);
    return true;
  }

  /** @param stream the source when it is still to be read from the client */
  #dispatch(
    request: IncomingMessage,
    response: ServerResponse,
    head: RequestHead,
    stream: RequestBody | undefined,
    source: BodySource,
  ): void {
    try {
      if (this.#application !== undefined && !isHealthCheck(head.target)) {
        const exchange = this.#exchange(request, response, stream, OWN_TIMEOUT_MS);
        exchange.answerWith(this.#application.answerRequest(head, source, exchange.signal));
        return;
      }
      const resolved = resolve(this.#routing, head, source, false);
      if (resolved instanceof Promise) {
        const exchange = this.#exchange(request, response, stream, OWN_TIMEOUT_MS);
        exchange.answerWith(this.#routeLater(resolved, exchange));
      } else if (resolved instanceof SessionCall) {
        const first = turns.enterTop(request.socket, new TornRequest(this.#failTorn, request, response, stream));
        let reply: SessionReply | Promise<SessionReply>;
        try {
          reply = this.#router.route(resolved);
        } finally {
          if (first) turns.leaveTop();
        }
        this.#answer(request, response, stream, reply, resolved);
      } else {
        this.#answer(request, response, stream, resolved, undefined);
      }
    } catch (error) {
      this.#exchange(request, response, stream, OWN_TIMEOUT_MS).fail(error);
    }
  }

  #answer(
    request: IncomingMessage,
    response: ServerResponse,
    body: RequestBody | undefined,
    reply: SessionReply | Promise<SessionReply>,
    call: SessionCall | undefined,
  ): void {
    if (body === undefined && !(reply instanceof Promise) && !(reply.body instanceof ReadableStream)) {
      try {
        writeReply(response, request.method ?? "GET", reply, this.#closing);
      } catch (error) {
        throw invalidHead(error);
      }
      return;
    }
    const exchange = this.#exchange(request, response, body, call?.timeoutMs ?? OWN_TIMEOUT_MS);
    if (call !== undefined) exchange.onCancel((reason) => call.cancel(reason));
    if (reply instanceof Promise) exchange.answerWith(reply);
    else exchange.answer(reply);
  }

  /** The application's hooks were asked first, or a session is being made. */
  async #routeLater(resolved: Promise<SessionCall | SessionReply>, exchange: Exchange): Promise<SessionReply> {
    const call = await resolved;
    if (!(call instanceof SessionCall)) return call;
    exchange.await(call.timeoutMs, (reason) => call.cancel(reason));
    return this.#router.route(call);
  }

  #join(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#requests++;
    this.#handshakes++;
    // Without a listener a reset connection would end the process; `close` follows and is listened to.
    socket.on("error", ignore);
    if (socket instanceof Socket) this.#kept.release(socket);
    else {
      // What Node gives for a handshake with a body, of which there is no such thing.
      endWithProblem(socket, 400, "a WebSocket handshake has no body");
      return;
    }
    const answer = (): Exchange => this.#exchange(request, responseOn(request, socket), undefined, OWN_TIMEOUT_MS);
    try {
      checkHandshake(request);
      const asked = readHead(request, this.#proxies);
      this.#checkOrigin(request, asked.url);
      this.#perAddress?.take(networkOf(asked.ip));
      this.#pace.enter({ socket, begin: () => void this.#shakeHands(request, asked, socket, head, answer) });
    } catch (error) {
      answer().fail(error);
    }
  }

  #checkOrigin({ headers: { origin } }: IncomingMessage, url: string): void {
    if (this.#origins === undefined || origin === undefined || this.#origins.allows(origin, url)) return;
    throw new MeshError("forbidden", `pages of ${origin.slice(0, 80)} may open no WebSockets here`);
  }

  async #shakeHands(
    request: IncomingMessage,
    asked: RequestHead,
    socket: Socket,
    head: Buffer,
    answer: () => Exchange,
  ): Promise<void> {
    try {
      this.#refuseIfClosing();
      const resolved = await this.#resolveUpgrade(asked, request.socket, answer);
      // The application may have taken its time.
      if (resolved === undefined || socket.destroyed) return;
      this.#refuseIfClosing();
      this.#connect(request, socket, head, resolved, answer);
    } catch (error) {
      answer().fail(error);
    }
  }

  #refuseIfClosing(): void {
    if (this.#closing) throw new MeshError("overloaded", "this worker is going away", { retryAfterMs: GOODBYE_MS });
  }

  /** The call that a WebSocket is for; undefined when the request was answered in another way. */
  async #resolveUpgrade(head: RequestHead, socket: Socket, answer: () => Exchange): Promise<SessionCall | undefined> {
    if (this.#application !== undefined) {
      const answered = await this.#application.answerUpgrade(head, socket);
      if (answered.status === "upgrade") return answered.call;
      answer().answer(answered.reply);
      return undefined;
    }
    const resolved = await resolve(this.#routing, head, NO_BODY, true);
    if (resolved instanceof SessionCall) return resolved;
    if (matchSessionPath(head.target) === undefined && resolved.status < 400)
      throw new MeshError("bad_upgrade", "no WebSocket is served at this path, only at those of sessions");
    answer().answer(resolved);
    return undefined;
  }

  #connect(request: IncomingMessage, socket: Socket, head: Buffer, call: SessionCall, answer: () => Exchange): void {
    const { maxMessageBytes, compress = false } = this.#router.limitsOf(call.id.kind);
    call.protocol = chooseProtocol(call, this.#protocolsOf(call.id.kind), this.#log);
    const client = new ClientSocket(this.#heartbeat);
    const joining = new Joining({
      request,
      socket,
      head,
      call,
      client,
      refuse: (error) => answer().fail(error),
      answer: (reply) => answer().answer(reply),
      servers: this.#webSocketServers,
      messageBytesMax: maxMessageBytes,
      compress,
      over: this.#forget,
    });
    this.#waiting.add(joining);
    void joining.wait(this.#router.connect(call, client));
  }

  #exchange(
    request: IncomingMessage,
    response: ServerResponse,
    body: RequestBody | undefined,
    timeoutMs: number,
    closing: () => boolean = this.#isClosing,
  ): Exchange {
    const exchange = new Exchange({
      request,
      response,
      body,
      timeoutMs,
      log: this.#log,
      closing,
      over: this.#forget,
    });
    this.#waiting.add(exchange);
    return exchange;
  }

  /** Node's parser is torn off as well: the connection is good for the answer and no more. */
  readonly #failTorn: FailTorn = (error, request, response, body) =>
    this.#exchange(request, response, body, OWN_TIMEOUT_MS, ALWAYS).fail(error);

  readonly #isClosing = (): boolean => this.#closing;

  readonly #forget = (waiting: Waiting): void => {
    this.#waiting.delete(waiting);
    this.#noticeIdle();
  };

  #noticeIdle(): void {
    if (this.#waiting.size === 0 && this.#heartbeat.size === 0) this.#whenIdle?.();
  }

  /** A count of it, as the pace of handshakes needs it. */
  #doneForOthers(): number {
    return this.#requests - this.#handshakes + this.#heartbeat.messages + this.#router.eventsServed();
  }

  #busy(): ReadonlySet<unknown> {
    return new Set(Array.from(this.#waiting, ({ connection }) => connection));
  }

  #sweep(): void {
    const nowMs = performance.now();
    for (const waiting of this.#waiting) waiting.sweep(nowMs);
    if (this.#closing) this.#noticeIdle();
  }

  async #close(graceMs: number): Promise<void> {
    this.#closing = true;
    this.unshare();
    this.#pace.flush();
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    await this.#idle(graceMs);
    for (const socket of this.#heartbeat.members()) socket.close(CLOSE_RESTART, "the worker is going away");
    for (const waiting of this.#waiting) waiting.destroy();
    await this.#idle(GOODBYE_MS);
    for (const socket of this.#heartbeat.members()) socket.terminate();
    this.#server.closeAllConnections();
    this.#heartbeat.close();
    this.#kept.close();
    clearInterval(this.#sweeper);
    await closed;
  }

  /** Settles when nothing waits and no socket is open, or after `ms`. */
  #idle(ms: number): Promise<void> {
    if (this.#waiting.size === 0 && this.#heartbeat.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
