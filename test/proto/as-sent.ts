// Compares decoded frames with those that were sent.

/** A decoded frame is an instance of a generated class, which has the empty values: what counts is what is read from it. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]));
}

/** What was sent, as it is read from what arrived. */
export function asSent(arrived: unknown, sent: unknown): unknown {
  if (Array.isArray(sent) && Array.isArray(arrived)) return arrived.map((one, at) => asSent(one, sent[at]));
  if (typeof sent !== "object" || sent === null || sent instanceof Uint8Array) return plain(arrived);
  if (typeof arrived !== "object" || arrived === null) return arrived;
  return Object.fromEntries(Object.entries(sent).map(([key, part]) => [key, asSent(Reflect.get(arrived, key), part)]));
}
