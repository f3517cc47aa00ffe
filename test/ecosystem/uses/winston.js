import { PassThrough } from "node:stream";
import winston from "winston";

export async function use() {
  const out = new PassThrough();
  const { combine, errors, json } = winston.format;
  const transports = [new winston.transports.Stream({ stream: out })];
  const logger = winston.createLogger({ format: combine(errors({ stack: true }), json()), transports });
  logger.info("hello", { a: 1 });
  for await (const line of out) return JSON.parse(line);
}
