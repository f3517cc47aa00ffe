// Open sockets of others, each sending a number now and then and expecting it back.

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";

const SEND_MS = 50;
/** For the last echoes. A socket that is without one by then has lost a message. */
const LAST_ECHO_MS = 3_000;
const LOOK_MS = 10;

class Line {
  readonly socket: WebSocket;
  sent = 0;
  received = 0;
  #inOrder = true;

  constructor(url: string) {
    this.socket = new WebSocket(url);
    this.socket.on("error", () => {});
    this.socket.on("message", (data: Buffer) => {
      if (data.toString() !== String(this.received++)) this.#inOrder = false;
    });
  }

  say(): void {
    this.socket.send(String(this.sent++), () => {});
  }

  get open(): boolean {
    return this.socket.readyState === WebSocket.OPEN && this.#inOrder;
  }
}

export class Talk {
  readonly #lines: readonly Line[];
  readonly #timer: NodeJS.Timeout;

  private constructor(lines: readonly Line[]) {
    this.#lines = lines;
    this.#timer = setInterval(() => {
      for (const line of lines) line.say();
    }, SEND_MS);
  }

  static async start(port: number, paths: readonly string[]): Promise<Talk> {
    const lines = paths.map((path) => new Line(`ws://127.0.0.1:${port}${path}`));
    await Promise.all(lines.map(({ socket }) => once(socket, "open")));
    return new Talk(lines);
  }

  /** How many sockets were closed, or did not get each message back. */
  async end(): Promise<number> {
    clearInterval(this.#timer);
    const deadlineMs = performance.now() + LAST_ECHO_MS;
    const late = (): boolean => this.#lines.some(({ open, sent, received }) => open && received < sent);
    while (late() && performance.now() < deadlineMs) await sleep(LOOK_MS);
    const whole = this.#lines.filter(({ open, sent, received }) => open && received === sent);
    for (const { socket } of this.#lines) socket.terminate();
    return this.#lines.length - whole.length;
  }
}
