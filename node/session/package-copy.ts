// Which installed copy of this package a class came from. Where npm installed two, their classes are strangers to each other, and what helps
// is to be told where they lie.

import { fileURLToPath } from "node:url";

/** The same symbol in all copies. */
const COPY = Symbol.for("sessionmesh.copy");
/** The folder of the package, or of the checkout. */
const OURS = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "../../" : "../../../", import.meta.url));

/** Says of a class of ours, and by that of all that extend it, where it came from. */
export function markCopy(ours: object): void {
  Object.defineProperty(ours, COPY, { value: OURS });
}

/** Of a class, or an object, that is a stranger to this copy: whose it is. Undefined when it is nobody's. */
export function otherCopy(value: unknown): string | undefined {
  const marked: unknown = typeof value === "function" ? value : Object(value).constructor;
  const copy: unknown = typeof marked === "function" ? Reflect.get(marked, COPY) : undefined;
  if (typeof copy !== "string") return undefined;
  if (copy === OURS) {
    // As tsx does where no "type" is written: then what the application gets by \`require\` is loaded once more.
    return 'a second instance of "sessionmesh": a loader reads the application as CommonJS; write "type": "module" in its package.json';
  }
  return `another copy of "sessionmesh": theirs is ${copy}, the one that runs is ${OURS}; let all packages ask for the same version (npm ls sessionmesh)`;
}
