// What the compiler refuses in a session class, and that the start of the application refuses the same. The compiler's half is in the
// `@ts-expect-error` lines: `npm run check:types` fails where one of them has nothing to expect.

import { describe, expect, expectTypeOf, test } from "vitest";
import { SessionServer, defineMesh, type SessionOptions, type SessionSocket } from "sessionmesh";

const refusal = (define: () => unknown): string => {
  try {
    define();
    return "";
  } catch (error) {
    return String(error);
  }
};

describe("a hook with a slip of the pen is refused", () => {
  test("a letter too few", () => {
    class Chat extends SessionServer {
      onMesage(): void {}
    }
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { chat: Chat } }))).toContain(
      'class Chat: "onMesage" is called by nobody: did you mean "onMessage"?',
    );
  });

  test("a letter too many, letters swapped, another case, another letter", () => {
    class Many extends SessionServer {
      onConnnect(): void {}
    }
    class Swapped extends SessionServer {
      onSotp(): void {}
    }
    class Case extends SessionServer {
      onclose(): void {}
    }
    class Letter extends SessionServer {
      onMessege(): void {}
    }
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { many: Many } }))).toContain('did you mean "onConnect"?');
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { swapped: Swapped } }))).toContain('did you mean "onStop"?');
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { case: Case } }))).toContain('did you mean "onClose"?');
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { letter: Letter } }))).toContain('did you mean "onMessage"?');
  });

  test("in a class that another one extends, too", () => {
    class Base extends SessionServer {
      onStrat(): void {}
    }
    class Room extends Base {}
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { room: Room } }))).toContain('did you mean "onStart"?');
  });

  test("and so are the options", () => {
    class Room extends SessionServer {
      static option = { idleMs: 5 };
    }
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { room: Room } }))).toContain('did you mean "options"?');
  });

  test("and so are the guards of a class, which would let everybody in", () => {
    class Method extends SessionServer {
      static onBeforeReqest(): Response {
        return new Response(null, { status: 403 });
      }
    }
    class Case extends SessionServer {
      static onbeforeConnect(): void {}
    }
    class Base extends SessionServer {
      static onBeforeConect(): void {}
    }
    class Extended extends Base {}
    class Instance extends SessionServer {
      onBeforeRequest(): Response {
        return new Response(null, { status: 403 });
      }
    }
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { room: Method } }))).toContain('did you mean "onBeforeRequest"?');
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { room: Case } }))).toContain('did you mean "onBeforeConnect"?');
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { room: Extended } }))).toContain('did you mean "onBeforeConnect"?');
    expect(refusal(() => defineMesh({ sessions: { room: Instance } }))).toContain('"onBeforeRequest" must be static');
  });

  test("a hook that is static, and one of another system, are refused at the start", () => {
    class Static extends SessionServer {
      static onMessage(): void {}
    }
    class Party extends SessionServer {
      onRequest(): Response {
        return new Response();
      }
    }
    class Both extends SessionServer {
      onRequest(): Response {
        return new Response();
      }
      override fetch(): Response {
        return this.onRequest();
      }
    }
    expect(refusal(() => defineMesh({ sessions: { room: Static } }))).toContain('"onMessage" must not be static');
    expect(refusal(() => defineMesh({ sessions: { room: Party } }))).toContain("here it is fetch()");
    expect(refusal(() => defineMesh({ sessions: { room: Both } }))).toBe("");
  });

  test("as a field it is seen by the compiler alone", () => {
    class Chat extends SessionServer {
      onMesage = (): void => {};
    }
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { chat: Chat } }))).toBe("");
  });

  test("other methods are the application's own, near by or far away", () => {
    class Game extends SessionServer {
      onGameOver(): void {}
      onStep(): void {}
      onClone(): void {}
      onset = 1;
      override onMessage(): void {}
    }
    expect(refusal(() => defineMesh({ sessions: { game: Game } }))).toBe("");
  });
});

describe("options", () => {
  test("need no `as const`", () => {
    class Room extends SessionServer {
      static options = { isolation: "thread", turns: "serial", placement: { policy: "spread", labels: { zone: "a" } } };
      override fetch(): Response {
        this.ctx.mesh.session(Room, "other");
        return new Response();
      }
    }
    class Other extends SessionServer {
      static options: SessionOptions = { isolation: "process", heapMb: 64 };
    }
    class Third extends SessionServer {
      static options = { isolation: "process", placement: { labels: { zone: "a" } } } as const;
    }
    const { kinds } = defineMesh({ sessions: { room: Room, other: Other, third: Third } });
    expect([...kinds.values()].map((kind) => kind.options.isolation)).toEqual(["thread", "process", "process"]);
  });

  test("that do not exist are refused next to others that do", () => {
    class Room extends SessionServer {
      static options = { idleMs: 5, idelMs: 6 };
    }
    class Placed extends SessionServer {
      static options = { idleMs: 5, placement: { zone: "a", policy: "spread" } };
    }
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { room: Room } }))).toContain('Room.options has no "idelMs"');
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { room: Placed } }))).toContain(
      'Placed.options.placement has no "zone"',
    );
  });

  test("of a wrong value are refused where the compiler knows it", () => {
    class Room extends SessionServer {
      static options = { isolation: "tread" } as const;
    }
    class Words extends SessionServer {
      static options = { idleMs: "5" };
    }
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { room: Room } }))).toContain("Room.options.isolation must be");
    // @ts-expect-error: the compiler says so as well
    expect(refusal(() => defineMesh({ sessions: { room: Words } }))).toContain("Words.options.idleMs must be");
  });
});

test("an attachment has the type that the class says", () => {
  class Chat extends SessionServer<{ user: string }> {
    override onConnect(socket: SessionSocket<{ user: string }>): void {
      socket.attachment = { user: "ann" };
      // @ts-expect-error: the compiler says so as well
      socket.attachment = { user: 5 };
    }
    users(): string[] {
      expectTypeOf(this.ctx.sockets()).toEqualTypeOf<SessionSocket<{ user: string }>[]>();
      return this.sockets().map((socket) => socket.attachment.user);
    }
  }
  class Plain extends SessionServer {
    override onConnect(socket: SessionSocket): void {
      expectTypeOf(socket.attachment).toEqualTypeOf<unknown>();
    }
  }
  expect([...defineMesh({ sessions: { chat: Chat, plain: Plain } }).kinds.keys()]).toEqual(["chat", "plain"]);
});

test("an application's own fetch has its types", () => {
  class Room extends SessionServer {}
  defineMesh({
    sessions: { room: Room },
    fetch(request, mesh) {
      expectTypeOf(request).toEqualTypeOf<Request>();
      return mesh.session(Room, "one").fetch(request);
    },
  });
});
