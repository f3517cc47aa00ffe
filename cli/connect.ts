// `mesh connect <url>`: a WebSocket in the terminal, as curl is for requests: each line typed is a message, each message that
// comes is a line. Ends when either side does; exit code 1 when the connection failed or was closed with an error.

import { createInterface } from "node:readline";
import { MeshError } from "#proto";
import { watchForEnding } from "./launch/ending.ts";
import { print, say, sayError } from "./terminal.ts";

/** Close codes of an end that was meant: done, going away, none given. */
const FINE = new Set([1000, 1001, 1005]);
/** For what was sent just before the end of the input. */
const LAST_ANSWER_MS = 500;

export async function runConnectCommand(url: string): Promise<number> {
  const address = URL.parse(url);
  if (address === null || !/^(?:ws|http)s?:$/.test(address.protocol)) {
    throw new MeshError("bad_request", `"${url}" is no WebSocket: write ws://HOST:PORT/sessions/KIND/NAME`);
  }
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve));
  let opened = false;
  socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
    print(data instanceof ArrayBuffer ? `(${data.byteLength} bytes)` : String(data));
  });
  socket.addEventListener("open", () => {
    opened = true;
    say(`connected to ${address.href}; Ctrl-C ends`);
    createInterface({ input: process.stdin })
      .on("line", (line) => socket.send(line))
      .once("close", () => setTimeout(() => socket.close(1000), LAST_ANSWER_MS));
  });
  void watchForEnding().asked.then(() => socket.close(1000));
  const { code, reason } = await closed;
  if (!opened) {
    sayError(`${address.href} takes no WebSocket, or nobody listens there`);
    return 1;
  }
  if (FINE.has(code)) return 0;
  say(`closed with ${code}${reason === "" ? "" : `: ${reason}`}`);
  return 1;
}
