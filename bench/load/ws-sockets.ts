// The harness's end of ws-echo.ts: open WebSockets to a server, from a process on the load core.

import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { end, startPinned } from "../process.ts";
import type { FromLoad, ToLoad } from "./ws-echo.ts";
import type { LoadResult } from "./wrk.ts";

export interface OpenSockets extends AsyncDisposable {
  /** Every socket echoes one message after the other for so long. */
  echo(seconds: number): Promise<LoadResult>;
}

export interface SocketsWish {
  readonly port: number;
  /** The sockets go to these in turn. */
  readonly paths: readonly string[];
  readonly sockets: number;
}

const LOAD = fileURLToPath(new URL("./ws-echo.ts", import.meta.url));

/** Clients that come all at once, and stay idle. */
export interface Crowd extends AsyncDisposable {
  /** Rejects when one is refused. */
  connect(wish: SocketsWish): Promise<LoadResult>;
  close(): Promise<void>;
}

export async function openSockets(wish: SocketsWish): Promise<OpenSockets> {
  const load = startLoad();
  load.tell({ type: "open", ...wish });
  await load.next();
  return {
    async echo(seconds) {
      load.tell({ type: "run", seconds });
      return resultOf(await load.next());
    },
    [Symbol.asyncDispose]: () => load.end(),
  };
}

export function startCrowd(): Crowd {
  const load = startLoad();
  return {
    async connect(wish) {
      load.tell({ type: "connect", ...wish });
      return resultOf(await load.next());
    },
    async close() {
      load.tell({ type: "close" });
      await load.next();
    },
    [Symbol.asyncDispose]: () => load.end(),
  };
}

function resultOf(message: Heard): LoadResult {
  if (typeof message === "string") throw new Error("WebSocket load: out of step");
  return message;
}

type Heard = Exclude<FromLoad, { readonly failed: string }>;

interface Load {
  tell(message: ToLoad): void;
  next(): Promise<Heard>;
  end(): Promise<void>;
}

function startLoad(): Load {
  const child = startPinned({
    core: "load",
    command: process.execPath,
    args: [LOAD],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const tell = (message: ToLoad): void => void child.send(message);
  const next = async (): Promise<Heard> => {
    const told = new AbortController();
    const { signal } = told;
    const ended = once(child, "exit", { signal }).then(() => [{ failed: "the load process ended" }]);
    // The one that does not come first rejects.
    ended.catch(() => {});
    const heard = once(child, "message", { signal });
    heard.catch(() => {});
    const [message] = (await Promise.race([heard, ended])) as [FromLoad];
    told.abort();
    if (typeof message !== "string" && "failed" in message) throw new Error(`WebSocket load: ${message.failed}`);
    return message;
  };
  return { tell, next, end: () => end(child, "SIGTERM") };
}
