// The smallest application: a counter a session.

import { defineMesh, SessionServer } from "sessionmesh";

class Counter extends SessionServer {
  #count = 0;

  override fetch(): Response {
    this.#count += 1;
    return Response.json({ count: this.#count });
  }
}

export default defineMesh({ sessions: { counter: Counter } });
