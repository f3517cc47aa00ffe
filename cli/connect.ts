// `mesh connect <url>`: a WebSocket in the terminal, as curl is for requests: each line typed is a message, each message that
// comes is a line. Ends when either side does; exit code 1 when the connection failed or was closed with an error.

import type { IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
// Node's own WebSocket does not tell the answer of a server that refuses.
import { WebSocket } from "ws";
import { MeshError, parseJson, text } from "#proto";
import { watchForEnding } from "./launch/ending.ts";
import { print, say, sayError } from "./terminal.ts";

/** Close codes of an end that was meant: done, going away, none given. */
const FINE = new Set([1000, 1001, 1005]);
/** For what was sent just before the end of the input. */
const LAST_ANSWER_MS = 500;
/** Of the body of a refusal: enough for any problem detail, and a screen of anything else. */
const BODY_MAX_BYTES = 4_096;
/** A body that does not end, as that of a stream of events, is cut. */
const BODY_MS = 2_000;

/** Takes http:// and https:// for ws:// and wss://. Resolves with the exit code. */
export async function runConnectCommand(url: string): Promise<number> {
  const address = URL.parse(url);
  if (address === null || !/^(?:ws|http)s?:$/.test(address.protocol)) {
    throw new MeshError("bad_request", `"${url}" is no WebSocket: write ws://HOST:PORT/sessions/KIND/NAME`);
  }
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = "";
  const socket = new WebSocket(address);
  let opened = false;
  let fault = "it takes no WebSocket";
  socket.on("error", (error) => (fault = faultText(error)));
  const closed = new Promise<{ readonly code: number; readonly reason: string }>((resolve) => {
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    socket.on("unexpected-response", (_request, response: IncomingMessage) => {
      void refusalText(response).then((refusal) => {
        fault = refusal;
        resolve({ code: 1006, reason: "" });
      });
    });
  });
  socket.on("message", (data: Buffer, isBinary) => {
    print(isBinary ? `(${data.byteLength} bytes)` : data.toString());
  });
  socket.on("open", () => {
    opened = true;
    say(`connected to ${address.href}; Ctrl-C ends`);
    createInterface({ input: process.stdin })
      .on("line", (line) => socket.send(line))
      .once("close", () => setTimeout(() => socket.close(1000), LAST_ANSWER_MS));
  });
  void watchForEnding().asked.then(() => socket.close(1000));
  const { code, reason } = await closed;
  if (!opened) {
    sayError(`${address.href} does not open: ${fault}`);
    return 1;
  }
  if (FINE.has(code)) return 0;
  say(`closed with ${code}${reason === "" ? "" : `: ${reason}`}`);
  return 1;
}

/** `error.message` of a name with several addresses is empty. */
function faultText(error: NodeJS.ErrnoException): string {
  if (error.code === "ECONNREFUSED") return "nobody listens there";
  return error.message === "" ? (error.code ?? error.name) : error.message;
}

/** What a server says that answers the handshake as a request. */
async function refusalText(response: IncomingMessage): Promise<string> {
  const head = `HTTP ${response.statusCode} ${response.statusMessage}`;
  const body = await beginningOf(response);
  const said = detailOf(body) ?? body.toString().trim();
  return said === "" ? head : `${head}: ${said}`;
}

/** Of a problem detail (RFC 9457); undefined for any other body. */
function detailOf(body: Buffer): string | undefined {
  try {
    return text(parseJson(body, "body")["detail"], "detail");
  } catch {
    return undefined;
  }
}

async function beginningOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const cut = setTimeout(() => response.destroy(), BODY_MS);
  response.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= BODY_MAX_BYTES) response.destroy();
  });
  // Cut or broken off, what has come is shown.
  response.on("error", () => {});
  await new Promise<void>((resolve) => response.once("close", resolve));
  clearTimeout(cut);
  return Buffer.concat(chunks).subarray(0, BODY_MAX_BYTES);
}
