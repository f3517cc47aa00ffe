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

export async function openSockets(wish: SocketsWish): Promise<OpenSockets> {
  const child = startPinned({
    core: "load",
    command: process.execPath,
    args: [LOAD],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const tell = (message: ToLoad): void => void child.send(message);
  const next = async (): Promise<LoadResult | "open"> => {
    const told = new AbortController();
    const { signal } = told;
    const ended = once(child, "exit", { signal }).then(() => [{ failed: "the load process ended" }]);
    // The one that does not come first rejects.
    ended.catch(() => {});
    const heard = once(child, "message", { signal });
    heard.catch(() => {});
    const [message] = (await Promise.race([heard, ended])) as [FromLoad];
    told.abort();
    if (message !== "open" && "failed" in message) throw new Error(`WebSocket load: ${message.failed}`);
    return message;
  };
  tell({ type: "open", ...wish });
  await next();
  return {
    async echo(seconds) {
      tell({ type: "run", seconds });
      const result = await next();
      if (result === "open") throw new Error("WebSocket load: out of step");
      return result;
    },
    [Symbol.asyncDispose]: () => end(child, "SIGTERM"),
  };
}
