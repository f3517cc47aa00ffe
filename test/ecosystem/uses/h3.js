import { defineHandler, getQuery, H3, readBody } from "h3";

const base = "/sessions/h3/s";
const app = new H3()
  .get(`${base}/hello/:name`, (event) => ({ hello: event.context.params.name, q: getQuery(event).q }))
  .post(`${base}/body`, async (event) => readBody(event))
  .get(
    `${base}/stream`,
    defineHandler(() => new Blob(["streamed"]).stream()),
  );

export const use = (request) => app.fetch(request);
