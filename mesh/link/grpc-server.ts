// The server end of all links to this worker, in gRPC. It listens by itself and hands the connections to grpc-js: in a worker of
// node:cluster grpc-js would bind through the primary, which gives every worker the same port. With grpc-client.ts the only file
// that knows grpc-js.

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { lstat, rm } from "node:fs/promises";
import type { ServerHttp2Stream } from "node:http2";
import net from "node:net";
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerOptions,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import {
  LINK_METHOD_PATH,
  MeshError,
  decodeBatch,
  encodeBatch,
  errorKinds,
  type Frame,
  type Member,
  type WorkerId,
} from "#proto";
import { AnsweringLink } from "./answering-link.ts";
import { HTTP2_WINDOW_BYTES, grpcOptions } from "./grpc-options.ts";
import { atOnce, type Apart, type LinkListener, type LinkService } from "./port.ts";

/** What the kernels in use take, with the closing zero. */
const SOCKET_PATH_BYTES_MAX = 103;
/** How often whatever a terminated session left undone is taken up. */
const SWEEP_MS = 500;

const serverOptions: ServerOptions = { ...grpcOptions };

const linkDefinition: ServiceDefinition = {
  connect: {
    path: LINK_METHOD_PATH,
    requestStream: true,
    responseStream: true,
    requestSerialize: encodeBatch,
    requestDeserialize: decodeBatch,
    responseSerialize: encodeBatch,
    responseDeserialize: decodeBatch,
  },
};

export interface ListenLinksOptions {
  /** The id of this worker, before it is in any view. */
  readonly self: WorkerId;
  readonly mesh: string;
  /** Address to bind; the port is picked by the kernel. */
  readonly bind: string;
  /** Path of the Unix socket, at most 103 bytes. A socket file that is there already is taken for a dead process's and removed. */
  readonly socketPath: string;
  readonly service: LinkService;
  /** Default: every call is started at once. */
  readonly apart?: Apart;
  /** Epoch of our view now. */
  epoch(): number;
}

/** The credentials that every link to this process must match. */
function serverCredentials(): ServerCredentials {
  return ServerCredentials.createInsecure();
}

/** Throws `bad_config` when the address cannot be bound or the path cannot be a socket. */
export async function listenLinks(options: ListenLinksOptions): Promise<LinkListener> {
  await clearSocketPath(options.socketPath);
  const server = new GrpcLinkServer(options);
  try {
    await server.listen();
  } catch (cause) {
    await server.close();
    throw new MeshError("bad_config", `cannot listen for links on ${options.bind} and ${options.socketPath}`, {
      cause,
    });
  }
  return server;
}

class GrpcLinkServer implements LinkListener {
  readonly socket: string;
  readonly #options: ListenLinksOptions;
  readonly #grpc = new Server(serverOptions);
  readonly #listeners: readonly net.Server[];
  readonly #connections = new Set<net.Socket>();
  readonly #links = new Set<AnsweringLink>();
  readonly #sweeper: NodeJS.Timeout;
  #lastLinkGone = (): void => {};

  constructor(options: ListenLinksOptions) {
    this.#options = options;
    this.socket = options.socketPath;
    this.#grpc.addService(linkDefinition, { connect: (call: LinkCall) => this.#accept(call) });
    const injector = this.#grpc.createConnectionInjector(serverCredentials());
    const connected = (connection: net.Socket) => {
      this.#connections.add(connection);
      connection.once("close", () => this.#connections.delete(connection));
      injector.injectConnection(connection);
    };
    this.#listeners = [net.createServer({ noDelay: true }, connected), net.createServer(connected)];
    subscribe(STREAM_CREATED, widenWindow);
    this.#sweeper = setInterval(() => {
      for (const link of this.#links) link.sweep();
    }, SWEEP_MS).unref();
  }

  get port(): number {
    const address = this.#listeners[0]?.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  async listen(): Promise<void> {
    const [tcp, unix] = this.#listeners;
    if (tcp === undefined || unix === undefined) return;
    // `exclusive`: a port of its own for each worker of a cluster.
    await listening(tcp, { host: this.#options.bind, port: 0, exclusive: true });
    await listening(unix, { path: this.socket, exclusive: true });
  }

  retain(members: readonly Member[]): void {
    const ids = new Set<WorkerId | undefined>(members.map((member) => member.id));
    for (const link of this.#links) {
      if (link.from !== undefined && !ids.has(link.from))
        link.close(new MeshError("forbidden", `${link.from} has left the mesh`));
    }
  }

  deserted(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#links.size === 0) return resolve();
      const limit = setTimeout(resolve, limitMs);
      this.#lastLinkGone = () => {
        clearTimeout(limit);
        resolve();
      };
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    unsubscribe(STREAM_CREATED, widenWindow);
    const closed = this.#listeners.map((listener) => new Promise<void>((resolve) => listener.close(() => resolve())));
    for (const link of this.#links) link.close(new MeshError("session_stopped", "the worker stops"));
    this.#grpc.forceShutdown();
    for (const connection of this.#connections) connection.destroy();
    await Promise.all(closed);
    await rm(this.socket, { force: true });
  }

  #accept(call: LinkCall): void {
    const link: AnsweringLink = new AnsweringLink(
      { write: (batch) => call.write(batch), close: (reason) => endCall(call, reason) },
      {
        self: this.#options.self,
        mesh: this.#options.mesh,
        service: this.#options.service,
        apart: this.#options.apart ?? atOnce,
        epoch: () => this.#options.epoch(),
        onUp: () => this.#replaceOlder(link),
        onClosed: () => {
          this.#links.delete(link);
          if (this.#links.size === 0) this.#lastLinkGone();
        },
      },
    );
    this.#links.add(link);
    call.on("data", (batch: readonly Frame[]) => link.received(batch));
    call.on("drain", () => link.drained());
    call.on("end", () => {
      link.lost("the peer closed it");
      call.end();
    });
    call.on("cancelled", () => link.lost("its connection closed"));
    call.on("error", (error: Error) => link.lost(error.message));
  }

  /** A worker has one link to us: when a new one is up, the older one is a connection whose end we have not heard of yet. */
  #replaceOlder(link: AnsweringLink): void {
    for (const other of this.#links) {
      if (other !== link && other.from === link.from)
        other.close(new MeshError("session_lost", "a newer link of the same worker replaced this one"));
    }
  }
}

type LinkCall = ServerDuplexStream<readonly Frame[], readonly Frame[]>;

function endCall(call: LinkCall, reason: MeshError): void {
  // grpc-js turns an error event into the status of the call and ends it.
  call.emit("error", { code: errorKinds[reason.code].grpc, details: reason.message });
}

function listening(server: net.Server, options: net.ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function clearSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new MeshError(
      "bad_config",
      `the socket path ${path} is longer than ${SOCKET_PATH_BYTES_MAX} bytes: use a shorter MESH_SOCKET_DIR`,
    );
  }
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new MeshError("bad_config", `${path} is in the way of a socket and is not one`);
  await rm(path, { force: true });
}

const STREAM_CREATED = "http2.server.stream.created";

/** grpc-js lets only clients set HTTP/2's windows; a server's 64 KiB would slow every upload to that much a round trip. */
function widenWindow(message: unknown): void {
  if (!isLinkStream(message)) return;
  message.stream.session?.settings({ initialWindowSize: HTTP2_WINDOW_BYTES });
  message.stream.session?.setLocalWindowSize(HTTP2_WINDOW_BYTES);
}

/** The channel tells of every HTTP/2 stream of this process. */
function isLinkStream(message: unknown): message is { readonly stream: ServerHttp2Stream } {
  if (typeof message !== "object" || message === null || !("stream" in message && "headers" in message)) return false;
  const { headers } = message;
  return typeof headers === "object" && headers !== null && ":path" in headers && headers[":path"] === LINK_METHOD_PATH;
}
