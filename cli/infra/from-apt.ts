// The last source: on Debian, as root (a container of a build, most often), the package manager has the server. It changes the
// machine, so it says so first; everywhere else it stays out of the way.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { MeshError, messageOf } from "#proto";
import { findBinary } from "./binary.ts";
import type { Found, InfraWish } from "./find.ts";
import { fromBinary } from "./from-binary.ts";
import type { InfraNeed } from "./need.ts";

/** Lists and one small package; a slower mirror than this needs a person. */
const APT_MS = 180_000;

export interface Machine {
  readonly isDebian: boolean;
  readonly isRoot: boolean;
}

/** Throws `registry_unavailable` when apt-get fails. */
export async function fromApt(need: InfraNeed, wish: InfraWish, machine: Machine = thisMachine()): Promise<Found> {
  const apt = findBinary("apt-get", wish.env["PATH"] ?? "");
  if (!machine.isDebian || !machine.isRoot || apt === undefined) {
    return { found: false, why: "apt-get is only used on Debian as root" };
  }
  wish.say(`installing ${need.aptPackage} with apt-get, because no other ${need.name} was found`);
  const install = ["install", "-y", "--no-install-recommends", need.aptPackage];
  try {
    // A fresh image has no package lists: the second try brings them. Lists that are there need no refresh.
    await runApt(apt.file, install, wish).catch(async () => {
      await runApt(apt.file, ["update"], wish);
      await runApt(apt.file, install, wish);
    });
  } catch (cause) {
    throw new MeshError(
      "registry_unavailable",
      `apt-get could not install ${need.aptPackage}: ${messageOf(cause)}\n${need.install}.`,
      {
        cause,
      },
    );
  }
  return fromBinary(need, wish);
}

async function runApt(file: string, args: readonly string[], wish: InfraWish): Promise<void> {
  await promisify(execFile)(file, [...args], {
    timeout: APT_MS,
    // RUNLEVEL=1 keeps the package from starting a service of its own beside ours.
    env: { ...wish.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
  });
}

function thisMachine(): Machine {
  return { isDebian: existsSync("/etc/debian_version"), isRoot: process.getuid?.() === 0 };
}
