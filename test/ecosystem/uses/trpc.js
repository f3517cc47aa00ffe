import { initTRPC } from "@trpc/server";
import { fetchRequestHandler } from "@trpc/server/adapters/fetch";

const t = initTRPC.create();
const router = t.router({
  hello: t.procedure.input((value) => String(value)).query(({ input }) => `hello ${input}`),
  add: t.procedure.input((value) => value).mutation(({ input: [left, right] }) => left + right),
});

export const use = (req) => fetchRequestHandler({ endpoint: "/sessions/trpc/s/trpc", req, router });
