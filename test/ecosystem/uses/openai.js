import OpenAI, { APIConnectionError } from "openai";
import { standIn } from "./stand-in.js";

/** Streams from a stand-in of the service; then asks where nobody listens. */
export async function use() {
  const client = new OpenAI({ apiKey: "key", baseURL: `${standIn}/v1`, maxRetries: 0 });
  const messages = [{ role: "user", content: "hello" }];
  const stream = await client.chat.completions.create({ model: "m", stream: true, messages });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  const nobody = new OpenAI({ apiKey: "key", baseURL: "http://127.0.0.1:1/v1", maxRetries: 0 });
  try {
    await nobody.models.list();
    return { text };
  } catch (error) {
    return { text, error: error instanceof APIConnectionError ? "connection" : String(error) };
  }
}
