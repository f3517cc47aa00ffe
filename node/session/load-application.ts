// Loads an application module and says in plain words what is wrong with it. Node runs the file directly, TypeScript too.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { MeshError, messageOf } from "#proto";
import { MeshApplication } from "./application.ts";

/** Throws `bad_app`; its cause is what Node said, with file and line. */
export async function loadApplication(path: string): Promise<MeshApplication> {
  const file = resolve(path);
  if (!existsSync(file)) throw new MeshError("bad_app", `there is no application at ${file}`);
  const module = await load(path, file);
  const application = module["default"];
  if (application instanceof MeshApplication) return application;
  const named = Object.keys(module).find((name) => module[name] instanceof MeshApplication);
  if (named !== undefined) {
    throw new MeshError("bad_app", `${path} exports its application as "${named}"; write export default ${named}`);
  }
  if (application === undefined) {
    throw new MeshError(
      "bad_app",
      `${path} has no default export; end it with export default defineMesh({ sessions: { ... } })`,
    );
  }
  throw new MeshError(
    "bad_app",
    `the default export of ${path} was not made by defineMesh of this copy of "sessionmesh"`,
  );
}

async function load(path: string, file: string): Promise<Record<string, unknown>> {
  try {
    const module: unknown = await import(pathToFileURL(file).href);
    return Object.fromEntries(Object.entries(Object(module)));
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    throw new MeshError("bad_app", `${path} cannot be loaded: ${reasonOf(cause)}`, { cause });
  }
}

function reasonOf(cause: unknown): string {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;
  switch (code) {
    case "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX":
      return `Node removes types but transforms nothing, so enums, namespaces, parameter properties and decorators do not run (${messageOf(cause)})`;
    case "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING":
      return `Node runs no TypeScript inside node_modules (${messageOf(cause)})`;
    case "ERR_UNKNOWN_FILE_EXTENSION":
      return `use .ts, .mts, .js or .mjs (${messageOf(cause)})`;
    default:
      return `${messageOf(cause)}${placeOf(cause)}`;
  }
}

/** File and line of an error: of a syntax error Node puts them in front of the stack. */
function placeOf(cause: unknown): string {
  if (!(cause instanceof Error) || cause.stack === undefined) return "";
  const place =
    cause instanceof SyntaxError
      ? /^(file:\S+:\d+|\/\S+:\d+)/.exec(cause.stack)
      : /\((file:\S+:\d+):\d+\)|at (file:\S+:\d+):\d+/.exec(cause.stack);
  const at = place?.[1] ?? place?.[2];
  return at === undefined ? "" : ` at ${at}`;
}
