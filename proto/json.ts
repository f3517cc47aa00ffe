// Readers of values that arrive from outside. Each names the path of what it refused; all throw `bad_frame`.

import { MeshError } from "./error.ts";

export function parseJson(bytes: Uint8Array, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch (cause) {
    throw new MeshError("bad_frame", `${what} is not JSON`, { cause });
  }
  return record(value, what);
}

export function record(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MeshError("bad_frame", `${path} must be an object`);
  }
  return value as Record<string, unknown>;
}

export function list(value: unknown, path: string): unknown[] {
  if (!Array.isArray(value)) throw new MeshError("bad_frame", `${path} must be a list`);
  return value;
}

export function text(value: unknown, path: string): string {
  if (typeof value !== "string") throw new MeshError("bad_frame", `${path} must be a string`);
  return value;
}

export function integer(value: unknown, path: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new MeshError("bad_frame", `${path} must be a whole number, 0 or more`);
  }
  return value;
}

export function oneOf<T extends string>(value: unknown, allowed: readonly T[], path: string): T {
  const found = allowed.find((entry) => entry === value);
  if (found === undefined) throw new MeshError("bad_frame", `${path} must be one of ${allowed.join(", ")}`);
  return found;
}
