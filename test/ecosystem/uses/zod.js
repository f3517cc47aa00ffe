import { z } from "zod";

const Person = z.object({ name: z.string().min(1), age: z.coerce.number().int().positive() });

export function use() {
  const wrong = Person.safeParse({ name: "me", age: -1 });
  return { parsed: Person.parse({ name: "me", age: "3" }), issues: wrong.error.issues.flatMap(({ path }) => path) };
}
