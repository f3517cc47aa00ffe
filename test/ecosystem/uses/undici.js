import { fetch, Pool } from "undici";
import { standIn } from "./stand-in.js";

export async function use() {
  const response = await fetch(`${standIn}/echo`, { method: "POST", body: "echo" });
  const pool = new Pool(standIn);
  const { body } = await pool.request({ path: "/echo", method: "POST", body: "echo" });
  const pooled = await body.text();
  await pool.close();
  return { text: await response.text(), pooled };
}
