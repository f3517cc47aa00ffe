// WebSocket handshakes. The client is only answered when its session has accepted, so a session that refuses, or that could not
// be started, is an ordinary HTTP error. Relies on `ws` for the protocol from there on.

import { ServerResponse, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocketServer, type Server } from "ws";
import { MeshError } from "#proto";
import type { ConnectReply, SessionCall, SessionEnd, SessionReply } from "#mesh";
import { GatewaySocket, type ClientSocket } from "./client-socket.ts";
import { TIMEOUT_SLACK_MS, type Waiting } from "./exchange.ts";

/** Tiny fragments cost far more memory than their bytes. */
const FRAGMENTS_MAX = 1_024;
const BUFFERED_CHUNKS_MAX = 1_024;
const CLOSE_ABNORMAL = 1006;

const KEY = /^[+/0-9A-Za-z]{22}==$/;

/** Throws `bad_upgrade` or `bad_request` when the request is no handshake of WebSocket version 13. */
export function checkHandshake(request: IncomingMessage): void {
  const { upgrade, "sec-websocket-version": version, "sec-websocket-key": key } = request.headers;
  if (request.method !== "GET") throw new MeshError("bad_request", "a WebSocket handshake must be a GET");
  if (upgrade?.toLowerCase() !== "websocket") {
    throw new MeshError("bad_upgrade", `cannot upgrade to "${String(upgrade).slice(0, 80)}", only to websocket`);
  }
  if (version !== "13") {
    throw new MeshError(
      "bad_upgrade",
      `WebSocket version 13 is spoken here, not ${String(version ?? "none").slice(0, 20)}`,
    );
  }
  if (typeof key !== "string" || !KEY.test(key))
    throw new MeshError("bad_request", "Sec-WebSocket-Key is missing or malformed");
}

/** What is small is sent as fast without; what is larger is nearly always text, which shrinks to a third. */
const COMPRESS_BYTES_MIN = 1_024;
/**
 * Nothing is kept between messages: a window of its own would cost each socket some 300 kB. Speed before size: the worker has others to serve.
 */
const DEFLATE = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  threshold: COMPRESS_BYTES_MIN,
  zlibDeflateOptions: { level: 3, memLevel: 7 },
} as const;

/** One `ws` server for each message size, with compression or without: nothing else differs between kinds, so there are at most as many. */
export class WebSocketServers {
  readonly #plain = new Map<number, Server<typeof GatewaySocket>>();
  readonly #compressing = new Map<number, Server<typeof GatewaySocket>>();
  readonly #chosen = new WeakMap<IncomingMessage, string>();

  /** `ws` asks for it while it answers the handshake. */
  choose(request: IncomingMessage, protocol: string): void {
    if (protocol !== "") this.#chosen.set(request, protocol);
  }

  /** @param messageBytesMax at least 1: `ws` takes 0 for no limit */
  of(messageBytesMax: number, compress: boolean): Server<typeof GatewaySocket> {
    const servers = compress ? this.#compressing : this.#plain;
    let server = servers.get(messageBytesMax);
    if (server === undefined) {
      server = new WebSocketServer({
        noServer: true,
        clientTracking: false,
        perMessageDeflate: compress ? DEFLATE : false,
        handleProtocols: (_, request) => this.#chosen.get(request) ?? false,
        maxPayload: messageBytesMax,
        maxFragments: FRAGMENTS_MAX,
        maxBufferedChunks: BUFFERED_CHUNKS_MAX,
        WebSocket: GatewaySocket,
      });
      servers.set(messageBytesMax, server);
    }
    return server;
  }
}

export interface JoiningOptions {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What the client has sent behind its handshake. */
  readonly head: Buffer;
  readonly call: SessionCall;
  readonly client: ClientSocket;
  readonly servers: WebSocketServers;
  readonly messageBytesMax: number;
  readonly compress: boolean;
  /** Answers the handshake with an error. */
  readonly refuse: (error: MeshError) => void;
  /** Answers it in the session's own words. */
  readonly answer: (reply: SessionReply) => void;
  readonly over: (joining: Joining) => void;
}

/** A handshake that waits for its session. */
export class Joining implements Waiting {
  place = -1;
  readonly #options: JoiningOptions;
  readonly #deadlineMs: number;
  #over = false;

  constructor(options: JoiningOptions) {
    this.#options = options;
    this.#deadlineMs = performance.now() + options.call.timeoutMs + TIMEOUT_SLACK_MS;
    options.socket.on("close", this.#lost);
  }

  get connection(): Duplex {
    return this.#options.socket;
  }

  /** Never rejects. */
  async wait(connected: ConnectReply | Promise<ConnectReply>): Promise<void> {
    const reply = await connected;
    if (reply.status === "refused") this.#refuse(reply.error);
    else if (reply.status === "answered") this.#answer(reply.reply);
    else if (this.#over) reply.end.closed(CLOSE_ABNORMAL, "", false);
    else this.#open(reply.end);
  }

  sweep(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return;
    const error = new MeshError("timeout", "the session did not answer in time");
    this.#options.call.cancel(error);
    this.#refuse(error);
  }

  destroy(): void {
    this.#options.socket.destroy();
  }

  #open(end: SessionEnd): void {
    const { request, socket, head, call, client, servers, messageBytesMax, compress } = this.#options;
    this.#settle();
    let opened = false;
    servers.choose(request, call.protocol);
    servers.of(messageBytesMax, compress).handleUpgrade(request, socket, head, (webSocket) => {
      opened = true;
      client.opened(webSocket, socket, end);
    });
    if (opened) return;
    // The connection broke in this very moment.
    socket.destroy();
    client.closedBy(CLOSE_ABNORMAL, "");
    end.closed(CLOSE_ABNORMAL, "", false);
  }

  #refuse(error: MeshError): void {
    if (this.#turnedAway()) this.#options.refuse(error);
  }

  #answer(reply: SessionReply): void {
    if (this.#turnedAway()) this.#options.answer(reply);
  }

  /** False: the client was answered, or has gone. */
  #turnedAway(): boolean {
    if (this.#over) return false;
    this.#settle();
    this.#options.client.closedBy(CLOSE_ABNORMAL, "");
    return true;
  }

  readonly #lost = (): void => {
    const { call, client } = this.#options;
    this.#settle();
    client.closedBy(CLOSE_ABNORMAL, "");
    call.cancel(new MeshError("cancelled", "the client went away"));
  };

  #settle(): void {
    this.#over = true;
    this.#options.socket.off("close", this.#lost);
    this.#options.over(this);
  }
}

/** A plain HTTP response on a connection that asked for an upgrade. It closes the connection. */
export function responseOn(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.on("finish", () => socket.destroySoon());
  return response;
}
