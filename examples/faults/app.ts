// Sessions that go wrong in every way on demand, and neighbours that must not notice. The same faults in all three isolation classes:
//
//   GET /sessions/fault/alice/              counts
//   GET /sessions/fault/alice/fault/spin    goes wrong; an unknown name lists all of them
//   GET /sessions/fault-event/alice/fault/throw    the same, where an error of one event does not end the session
//   GET /sessions/neighbour/bob/            counts, ticks, and tells what it saw of others' faults

import { defineMesh, SessionServer, type SessionContext, type SessionOptions, type SessionSocket } from "sessionmesh";
import { catalogue, listed } from "./catalogue.ts";
import { spin } from "./kinds/fault.ts";
import { Neighbour } from "./neighbour.ts";

/** Smaller than usual, so that a flood of memory is over soon. */
const OWN_HEAP_MB = 64;

export class Faulty extends SessionServer {
  // Each error ends the session, so that all can be compared.
  static readonly options: SessionOptions = { uncaught: "session" };
  #count = 0;

  // Two faults that are over before any request is there to ask for them: they go by the name of the session.
  constructor(ctx: SessionContext) {
    super(ctx);
    if (ctx.id.name.startsWith("bad-constructor")) spin();
  }

  override onStart(): void {
    if (this.ctx.id.name.startsWith("bad-start")) spin();
  }

  override fetch(request: Request): Response | Promise<Response> {
    // "", "sessions", "fault", the name, "fault", the kind of fault
    const [, , , , what, kind = ""] = new URL(request.url).pathname.split("/");
    if (what !== "fault") return Response.json({ count: ++this.#count, pid: process.pid });
    const fault = catalogue[kind];
    if (fault === undefined) return new Response(listed(), { status: 404 });
    const result = fault.run();
    // No `await`: a fault that throws at once is to leave this function at once.
    return result instanceof Promise ? result.then((value) => answer(kind, value)) : answer(kind, result);
  }

  override onMessage(socket: SessionSocket, message: string | Uint8Array): void {
    const fault = typeof message === "string" ? catalogue[message] : undefined;
    if (fault === undefined) socket.send(message);
    else fault.run();
  }
}

function answer(kind: string, result: unknown): Response {
  return result instanceof Response ? result : Response.json({ survived: kind, pid: process.pid });
}

/** As classes are by default: an error of one event costs that event. */
class FaultyEvent extends Faulty {
  static override readonly options: SessionOptions = {};
}

class FaultyThread extends Faulty {
  static override readonly options: SessionOptions = { uncaught: "session", isolation: "thread", heapMb: OWN_HEAP_MB };
}

class FaultyProcess extends Faulty {
  static override readonly options: SessionOptions = { uncaught: "session", isolation: "process", heapMb: OWN_HEAP_MB };
}

export default defineMesh({
  sessions: {
    fault: Faulty,
    "fault-event": FaultyEvent,
    "fault-thread": FaultyThread,
    "fault-process": FaultyProcess,
    neighbour: Neighbour,
  },
});
