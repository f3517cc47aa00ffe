// Code that is imported for the first time inside a handler. Loading it is no fault, however long it takes within its bound; looping is.

import type { Faults } from "./fault.ts";

const MODULES = 60;
/** Together more than a worker may be silent for. */
const MODULE_MS = 100;

/** Modules that compute for a while at their top level, and one that imports them all: Node evaluates them in one turn. */
function slowGraph(): string {
  const work = `const endMs = performance.now() + ${MODULE_MS}; while (performance.now() < endMs);`;
  const modules = Array.from({ length: MODULES }, (_, at) => moduleOf(`${work} // ${at}`));
  return moduleOf(modules.map((module) => `import ${JSON.stringify(module)};`).join("\n"));
}

function moduleOf(code: string): string {
  return `data:text/javascript,${encodeURIComponent(code)}`;
}

export const imports: Faults = {
  "import-long": { what: "a first import that takes six seconds: no fault", run: () => import(slowGraph()) },
  "import-spin": { what: "a module that loops at its top level", run: () => import(moduleOf("for (;;);")) },
};
