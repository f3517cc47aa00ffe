import { Hono } from "hono";
import { compress } from "hono/compress";
import { getCookie, setCookie } from "hono/cookie";
import { cors } from "hono/cors";
import { etag } from "hono/etag";
import { streamSSE } from "hono/streaming";

const app = new Hono().basePath("/sessions/hono/s");
app.use("/hello/*", etag(), cors());
app.use("/large", compress());
app.get("/hello/:name", (c) => c.json({ hello: c.req.param("name") }));
app.get("/events", (c) =>
  streamSSE(c, async (stream) => {
    for (let at = 0; at < 3; at++) {
      await stream.writeSSE({ data: String(at) });
      await stream.sleep(1);
    }
  }),
);
app.get("/large", (c) => c.text("large".repeat(1_000)));
app.get("/cookie", (c) => {
  setCookie(c, "b", "2");
  return c.text(getCookie(c, "a"));
});
app.post("/body", async (c) => c.json(await c.req.json()));

export const use = (request) => app.fetch(request);
