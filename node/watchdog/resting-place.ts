// Where a turn may be torn off. In the middle of a function of Node or of the mesh that would leave their books half written, and
// those are everybody's: so a stopped turn is first led back into the application's own code.

import type { Frame, MainThread, Paused } from "./inspector.ts";

/** Steps are cheap when the main thread obeys; a library function that loops for ever does not come back. Neighbours wait meanwhile. */
const STEPS_MAX = 200;
const STEPS_LIMIT_MS = 150;
/**
 * Where only Node is on the stack, as between two ticks, stopping again finds the application after some attempts of 2 ms. Steps get
 * there as well, but through each statement of Node's queues.
 */
const NUDGES_MAX = 20;
/** Enough to find the loop; more only fills the log. */
const STACK_FRAMES_MAX = 20;

const MESH = new URL("../../", import.meta.url).href;
const OWN_FOLDERS = ["node", "mesh", "placement", "proto", "cli"].map((folder) => `${MESH}${folder}/`);

/** What `paused` came to: in the application, or where it was when it would not go there. Undefined: it runs, or has left the turn. */
export async function restingPlace(main: MainThread, paused: Paused): Promise<Paused | undefined> {
  const deadlineMs = performance.now() + STEPS_LIMIT_MS;
  let place = paused;
  for (let steps = 0; steps < STEPS_MAX; steps++) {
    const [top] = place;
    const leftMs = deadlineMs - performance.now();
    if (top === undefined || isApplication(top) || leftMs <= 0) return place;
    const next = await forward(main, place, steps, leftMs);
    if (next === undefined) return main.pause(STEPS_LIMIT_MS);
    place = next;
  }
  return place;
}

function forward(main: MainThread, place: Paused, steps: number, limitMs: number): Promise<Paused | undefined> {
  if (place.some(isApplication)) return main.step("out", limitMs);
  return steps < NUDGES_MAX ? main.nudge(limitMs) : main.step("into", limitMs);
}

export function stackOf(place: Paused): string {
  return place
    .slice(0, STACK_FRAMES_MAX)
    .map(({ functionName, url, line, column }) => {
      const at = `${url}:${line}:${column}`;
      return functionName === "" ? `    at ${at}` : `    at ${functionName} (${at})`;
    })
    .join("\n");
}

export function isApplication({ url }: Frame): boolean {
  return !url.startsWith("node:") && !url.includes("/node_modules/") && !OWN_FOLDERS.some((own) => url.startsWith(own));
}
