// Where the mesh writes what an operator should know. The node injects it; the mesh has no log of its own.

export type LogLine = (
  level: "debug" | "info" | "warn" | "error",
  message: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;
