// HTTP load for rounds of a fraction of a second, which `wrk` cannot do: keep-alive connections from this process, one request under way on
// each. Answers must be small and have a length.

import { once } from "node:events";
import { connect, type Socket } from "node:net";

const CONNECTIONS = 32;
const OK = "HTTP/1.1 200";

export class KeepAliveLoad implements Disposable {
  readonly #sockets: readonly Socket[];
  readonly #requests: readonly Buffer[];
  #at = 0;
  #on = false;
  #answered = 0;
  #underWay = 0;
  #idle = Promise.withResolvers<void>();

  static async open(port: number, paths: readonly string[]): Promise<KeepAliveLoad> {
    const sockets = Array.from({ length: CONNECTIONS }, () => connect({ port, host: "127.0.0.1", noDelay: true }));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    return new KeepAliveLoad(sockets, paths);
  }

  private constructor(sockets: readonly Socket[], paths: readonly string[]) {
    this.#sockets = sockets;
    this.#requests = paths.map((path) => Buffer.from(`GET ${path} HTTP/1.1\r\nHost: bench\r\n\r\n`));
    for (const socket of sockets) {
      socket.on("data", (data: Buffer) => this.#received(socket, data));
      socket.on("error", (error) => this.#idle.reject(error));
      socket.on("close", () => this.#idle.reject(new Error("the server closed a connection")));
    }
  }

  /** How many requests were answered; those that were under way at the end included. Rejects when one was not answered with 200. */
  async run(ms: number): Promise<number> {
    this.#answered = 0;
    this.#idle = Promise.withResolvers();
    this.#on = true;
    const timer = setTimeout(() => (this.#on = false), ms);
    for (const socket of this.#sockets) this.#send(socket);
    try {
      await this.#idle.promise;
    } finally {
      clearTimeout(timer);
    }
    return this.#answered;
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.removeAllListeners("close").destroy();
  }

  #send(socket: Socket): void {
    this.#underWay++;
    this.#at = (this.#at + 1) % this.#requests.length;
    socket.write(this.#requests[this.#at] ?? "");
  }

  #received(socket: Socket, data: Buffer): void {
    // The rest of an answer that came in two pieces.
    if (!data.subarray(0, OK.length).equals(Buffer.from(OK))) {
      if (data.subarray(0, 5).toString("latin1") !== "HTTP/") return;
      this.#idle.reject(new Error(data.toString("latin1")));
      return;
    }
    this.#answered++;
    this.#underWay--;
    if (this.#on) this.#send(socket);
    else if (this.#underWay === 0) this.#idle.resolve();
  }
}
