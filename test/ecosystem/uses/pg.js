import pg from "pg";
import { postgresUrl } from "./stand-in.js";

export async function use() {
  const pool = new pg.Pool({ connectionString: postgresUrl });
  try {
    const { rows } = await pool.query("SELECT $1::int + 1 AS n", [2]);
    const [first] = (await pool.query("SELECT 'text' AS t")).rows;
    const refused = await pool.query("SELECT 1 / 0").catch(({ code }) => code);
    return { rows, pooled: first.t, refused };
  } finally {
    await pool.end();
  }
}
