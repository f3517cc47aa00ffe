// A directory question to a peer. The answer may come in several frames; it is handed on whole.

import { MeshError, type AnswerFrame, type AskFrame, type HostedSession } from "#proto";
import { errorOf, misplaced, resetFrame, type Exchange, type ExchangeLink } from "./exchange.ts";

/** No worker can host more than this: a peer that says so talks nonsense. */
const SESSIONS_MAX = 8_000_000;

/** Rejects with MeshError on time-out, when the peer answers with an error, and when the link breaks. */
export function askedQuestion(
  link: ExchangeLink,
  stream: number,
  question: AskFrame,
  timeoutMs: number,
  register: (exchange: Exchange) => void,
): Promise<AnswerFrame> {
  return new Promise((resolve, reject) => {
    const sessions: HostedSession[] = [];
    const settle = (end: () => void) => {
      clearTimeout(timer);
      link.finished(stream);
      end();
    };
    const timer = setTimeout(() => {
      const error = new MeshError("timeout", `a peer did not answer a question within ${timeoutMs} ms`);
      link.write(resetFrame(stream, error));
      settle(() => reject(error));
    }, timeoutMs);
    register({
      receive(frame) {
        if (frame.type === "reset") return settle(() => reject(errorOf(frame.reset)));
        if (frame.type !== "answer") throw misplaced(frame);
        const { ok, more, relayed } = frame.answer;
        if (sessions.length + frame.answer.sessions.length > SESSIONS_MAX) {
          throw new MeshError("bad_frame", "a peer claims to host more sessions than any worker can");
        }
        for (const session of frame.answer.sessions) sessions.push(session);
        if (!more) settle(() => resolve({ ok, sessions, more: false, ...(relayed && { relayed }) }));
      },
      broken: (error) => settle(() => reject(error)),
    });
    link.write({ stream, type: "ask", ask: question });
  });
}
