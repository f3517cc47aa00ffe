import { text } from "node:stream/consumers";
import got from "got";
import { standIn } from "./stand-in.js";

export async function use() {
  const url = `${standIn}/echo`;
  const json = await got.post(url, { json: { a: 1 } }).json();
  const promised = JSON.parse((await got(url, { method: "POST", body: '{"a":1}', retry: { limit: 0 } })).body);
  const streamed = await text(got.stream.post(url, { body: "echo" }));
  return { json, promised, streamed };
}
