// Starts the server that is installed on this machine, in the hands of a keeper (./kept.ts): it ends with us, however we end.

import { mkdirSync, mkdtempSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { MeshError, messageOf } from "#proto";
import { findBinary, versionOf, type Binary } from "./binary.ts";
import type { Found, Infra, InfraWish } from "./find.ts";
import { startKept, type Kept } from "./kept.ts";
import type { InfraNeed } from "./need.ts";
import { freePort } from "./port.ts";

/** A free port can be taken between our look and the server's start; three in a row is no accident. */
const PORT_TRIES = 3;

/** Throws `registry_unavailable` when the binary is there and does not start. */
export async function fromBinary(need: InfraNeed, wish: InfraWish, how?: string): Promise<Found> {
  const binary = findBinary(need.binary, wish.env["PATH"] ?? "");
  if (binary === undefined) return { found: false, why: `there is no ${need.binary} on PATH` };
  const version = await versionOf(binary.file).catch((cause: unknown) => {
    throw new MeshError("registry_unavailable", `${binary.file} cannot be run: ${messageOf(cause)}`, { cause });
  });
  const kept = await startOnFreePort(need, wish, binary);
  return { found: true, infra: infraOf(need, kept, how ?? `${need.binary} ${version} ${binary.where}`) };
}

async function startOnFreePort(need: InfraNeed, wish: InfraWish, binary: Binary): Promise<Kept> {
  for (let attempt = 1; ; attempt++) {
    const port = wish.port === 0 && !need.picksPort ? await freePort() : wish.port;
    const storeDir = wish.storeDir ?? mkdtempSync(path.join(os.tmpdir(), `mesh-${need.scheme}-`));
    mkdirSync(storeDir, { recursive: true });
    try {
      return await startKept({
        command: binary.file,
        args: need.args(port, path.resolve(storeDir)),
        readyPattern: need.readyPattern.source,
        portPattern: need.portPattern.source,
        removeDir: wish.storeDir === undefined ? storeDir : "",
      });
    } catch (error) {
      const portWasOurGuess = wish.port === 0 && !need.picksPort;
      if (!portWasOurGuess || attempt === PORT_TRIES) {
        throw new MeshError("registry_unavailable", `${need.binary} did not start: ${messageOf(error)}`, {
          cause: error,
        });
      }
    }
  }
}

function infraOf(need: InfraNeed, kept: Kept, how: string): Infra {
  return { url: `${need.scheme}://127.0.0.1:${kept.port}`, how, lost: kept.lost, stop: kept.stop };
}
