import axios from "axios";
import { standIn } from "./stand-in.js";

export async function use() {
  const [http, fetched] = await Promise.all(
    ["http", "fetch"].map((adapter) => axios.post(`${standIn}/echo`, { a: 1 }, { adapter })),
  );
  const missing = await axios.get(`${standIn}/nothing`, { adapter: "fetch" }).catch((error) => error.response);
  return { http: http.data, fetch: fetched.data, status: missing.status };
}
