// How an answer travels over NATS: JSON, either `{answer: value}` or `{error: problem}` with the problem details that HTTP clients
// get too. What does not look like one of them is refused.

import { MeshError, isErrorCode, problemOf, record, type ErrorContext } from "#proto";

export function encodeAnswer(value: unknown): string {
  return JSON.stringify({ answer: value ?? null });
}

export function encodeProblem(error: MeshError): string {
  return JSON.stringify({ error: problemOf(error) });
}

/** The value of an answer; throws the error that it carries, or `bad_frame`. */
export function readAnswer(body: unknown): unknown {
  const fields = record(body, "answer");
  if ("answer" in fields) return fields["answer"];
  const problem = record(fields["error"], "answer.error");
  if (!isErrorCode(problem["code"])) throw new MeshError("bad_frame", "an answer carries an error of no known code");
  const context: ErrorContext = {
    ...(typeof problem["session"] === "string" ? { session: problem["session"] } : {}),
    ...(typeof problem["node"] === "string" ? { node: problem["node"] } : {}),
  };
  const detail = typeof problem["detail"] === "string" ? problem["detail"] : "the other side gave no reason";
  throw new MeshError(problem["code"], detail, context);
}
