// Variables of a node that `mesh dev` and `mesh up` set themselves for the nodes that they start. What the user gave them would go
// unseen: each is named, with what to use in its place.

import { LAUNCHED_ENV } from "./unknown-variables.ts";

const INSTEAD = {
  MESH_PORT: "use --port",
  MESH_ADMIN_PORT: "use --admin-port",
  MESH_WORKERS: "use --workers",
  MESH_NODE: "it names its nodes itself",
  MESH_BIND: "it listens on 127.0.0.1",
  MESH_HOST: "it listens on 127.0.0.1",
  MESH_ADMIN_BIND: "it listens on 127.0.0.1",
} as const;
const INSTEAD_IN_UP = {
  MESH_SHARED_PORT: "use --port",
  MESH_SOCKET_DIR: "it makes a folder of its own",
} as const;

/** One line a variable. */
export function overriddenVariables(
  command: "dev" | "up",
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  if (env[LAUNCHED_ENV] !== undefined) return [];
  return Object.entries({ ...INSTEAD, ...(command === "up" && INSTEAD_IN_UP) })
    .filter(([name]) => env[name] !== undefined)
    .map(([name, instead]) => `${name} is not read by mesh ${command}: ${instead}`);
}
