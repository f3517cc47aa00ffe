// Loads an application module and says in plain words what is wrong with it. Node runs the file directly, TypeScript too.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { MeshError, messageOf } from "#proto";
import { MeshApplication } from "./application.ts";
import { watchTopLevelWaits } from "./top-level-waits.ts";
import { otherCopy } from "./package-copy.ts";

/** Checking the syntax of one file takes some 50 ms; a start that fails may wait for it. */
const CHECK_LIMIT_MS = 5_000;

/** Longer than applications take that wait for nothing, shorter than a person's patience. */
const SLOW_MS = 3_000;

/** For a load that may wait for ever at a top-level `await`. */
export interface LoadPatience {
  /** Then it has failed. */
  readonly limitMs: number;
  /** Once, after 3 s, with what is known of where it waits. */
  onSlow(why: string): void;
}

/** What V8 says of an ES module that it was told to read as CommonJS. */
const ES_SYNTAX = /import statement outside a module|Unexpected token 'export'/;

/** Throws `bad_app`; its cause is what Node said, with file and line. */
export async function loadApplication(path: string, patience?: LoadPatience): Promise<MeshApplication> {
  const file = resolve(path);
  if (!existsSync(file)) throw new MeshError("bad_app", `there is no application at ${file}`);
  const module = await (patience === undefined ? load(path, file) : loadWithin(path, file, patience));
  const application = defaultOf(module);
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
  const copy = otherCopy(application);
  throw new MeshError(
    "bad_app",
    `the default export of ${path} ${copy === undefined ? "was not made by defineMesh" : `was made by ${copy}`}`,
  );
}

async function loadWithin(path: string, file: string, patience: LoadPatience): Promise<Record<string, unknown>> {
  const waits = watchTopLevelWaits();
  const why = (): string => {
    const places = waits.places();
    return places.length === 0 ? "it waits for a module that does not come" : `it waits at ${places.join(" and at ")}`;
  };
  const late = Promise.withResolvers<never>();
  const slow = setTimeout(() => patience.onSlow(why()), SLOW_MS);
  const limit = setTimeout(() => {
    const message = `${path} did not finish loading within ${patience.limitMs} ms: ${why()}`;
    late.reject(new MeshError("bad_app", message));
  }, patience.limitMs);
  try {
    return await Promise.race([load(path, file), late.promise]);
  } finally {
    clearTimeout(slow);
    clearTimeout(limit);
    waits.stop();
  }
}

/** A CommonJS module has one export; one that was compiled from an ES module keeps its default in there. */
function defaultOf(module: Readonly<Record<string, unknown>>): unknown {
  const exported = module["default"];
  const isCompiled = typeof exported === "object" && exported !== null && "__esModule" in exported;
  return isCompiled && "default" in exported ? exported.default : exported;
}

async function load(path: string, file: string): Promise<Record<string, unknown>> {
  try {
    const module: unknown = await import(pathToFileURL(file).href);
    return Object.fromEntries(Object.entries(Object(module)));
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    throw new MeshError("bad_app", `${path} cannot be loaded: ${reasonOf(cause, file)}`, { cause });
  }
}

function reasonOf(cause: unknown, file: string): string {
  const message = messageOf(cause);
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;
  switch (code) {
    case "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX":
      return `Node removes types but transforms nothing, so enums, namespaces, parameter properties and decorators do not run (${message})`;
    case "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING":
      return `Node runs no TypeScript inside node_modules (${message})`;
    case "MODULE_NOT_FOUND":
    case "ERR_MODULE_NOT_FOUND":
      return /'sessionmesh'/.test(message)
        ? `"sessionmesh" is not installed where it is: run npm i sessionmesh in ${dirname(file)}`
        : message;
    case "ERR_UNKNOWN_FILE_EXTENSION":
      return `use .ts, .mts, .js or .mjs (${message})`;
    default:
      if (cause instanceof SyntaxError && ES_SYNTAX.test(message)) {
        return `it is an ES module, and the package.json next to it or above says "type": "commonjs": write "type": "module" there (${message})`;
      }
      return `${message}${placeOf(cause, file)}`;
  }
}

/** File and line, where they can be found. */
function placeOf(cause: unknown, file: string): string {
  if (!(cause instanceof Error) || cause.stack === undefined) return "";
  // Of some syntax errors Node puts the place in front of the stack, of others it tells only who asks it to check the file.
  const place =
    cause instanceof SyntaxError
      ? (/^(file:\S+:\d+)/.exec(cause.stack) ?? /^(\S+:\d+)$/m.exec(checked(file)))
      : /(file:\S+:\d+):\d+\)?$/m.exec(cause.stack);
  return place?.[1] === undefined ? "" : ` at ${place[1]}`;
}

function checked(file: string): string {
  return spawnSync(process.execPath, ["--check", file], { encoding: "utf8", timeout: CHECK_LIMIT_MS }).stderr;
}
