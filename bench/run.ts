// `npm run bench`: the mesh measured beside its controls, as bench/README.md explains. Prints tables; --json writes the figures to a file.

import { mkdtempSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { topFunctions, workerProfiles } from "./cpu-profile.ts";
import { hasWrk } from "./load/wrk.ts";
import { fullPace, profilePace, quickPace } from "./pace.ts";
import { canPin } from "./process.ts";
import { report } from "./report.ts";
import type { Row } from "./row.ts";
import type { Profile, Scenario } from "./scenario.ts";
import { hopOverTcp, hopOverUnixSocket, socketHop } from "./scenarios/hop.ts";
import { localHit } from "./scenarios/local-hit.ts";
import { sessionMemory, socketMemory } from "./scenarios/memory.ts";
import { newSession } from "./scenarios/new-session.ts";
import { wsConnect } from "./scenarios/ws-connect.ts";
import { wsEcho } from "./scenarios/ws-echo.ts";

const SCENARIOS: readonly Scenario[] = [
  localHit,
  newSession,
  hopOverUnixSocket,
  hopOverTcp,
  wsEcho,
  socketHop,
  wsConnect,
  sessionMemory,
  socketMemory,
];

const USAGE = `node bench/run.ts [--quick] [--only <name>]... [--profile] [--json <file>]
  names: ${SCENARIOS.map(({ name }) => name).join(" ")}`;

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readOptions();
  if (options === undefined) return 2;
  const chosen = SCENARIOS.filter(({ name }) => options.only.length === 0 || options.only.includes(name));
  if (chosen.some(({ needsWrk }) => needsWrk) && !hasWrk()) {
    say("wrk, which makes the HTTP load, is not installed. On Debian and Ubuntu: apt-get install wrk");
    return 1;
  }
  if (!canPin) say("without taskset and a second core, servers and load share what there is: read ratios, not rates");
  const pace = options.quick ? quickPace : options.profile ? profilePace : fullPace;
  const folder = options.profile ? mkdtempSync(path.join(os.tmpdir(), "mesh-profile-")) : undefined;
  const rows: Row[] = [];
  let failures = 0;
  for (const scenario of chosen) {
    say(scenario.name);
    const profile: Profile | undefined =
      folder === undefined ? undefined : { folder: path.join(folder, scenario.name), windows: [] };
    try {
      rows.push(...(await scenario.run({ pace, say, ...(profile && { profile }) })));
      if (profile !== undefined) sayProfile(profile);
    } catch (error) {
      failures += 1;
      say(`${scenario.name} failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  console.log(`\n${report(rows)}`);
  if (options.json !== undefined)
    writeFileSync(options.json, `${JSON.stringify({ pace, pinned: canPin, rows }, null, 2)}\n`);
  return failures === 0 ? 0 : 1;
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string", multiple: true, default: [] },
        profile: { type: "boolean", default: false },
        json: { type: "string" },
      },
    });
    const unknown = values.only.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
    if (unknown === undefined) return values;
    say(`there is no benchmark "${unknown}"\n${USAGE}`);
  } catch (error) {
    say(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  }
  return undefined;
}

function sayProfile({ folder, windows }: Profile): void {
  const files = workerProfiles(folder);
  if (files.length === 0) say(`no worker has left a profile in ${folder}: it was killed before it had ended`);
  for (const file of files) say(`\n${file}\n${topFunctions(file, windows)}\n`);
}

function say(message: string): void {
  console.error(message);
}
