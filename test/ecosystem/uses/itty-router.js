import { AutoRouter } from "itty-router";

const router = AutoRouter({ base: "/sessions/itty-router/s" })
  .get("/hello/:name", ({ params }) => ({ hello: params.name }))
  .post("/body", (request) => request.json());

export const use = (request) => router.fetch(request);
