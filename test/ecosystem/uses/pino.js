import { PassThrough } from "node:stream";
import pino from "pino";

export function use() {
  const out = new PassThrough();
  pino(out).child({ child: "c" }).info({ a: 1 }, "hello");
  const { level, msg, a, child } = JSON.parse(out.read());
  return { level, msg, a, child };
}
