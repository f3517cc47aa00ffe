// What a page tells its reader to do: files to write and commands to type, in order. A file is a code
// block that begins with its name; a command is a line of a console block that begins with "$".

export type Step =
  | { readonly is: "file"; readonly name: string; readonly text: string }
  | { readonly is: "command"; readonly command: string; readonly answer: string };

/** From one `app.ts` of the page to the next. */
export interface Transcript {
  readonly page: string;
  readonly line: number;
  readonly steps: readonly Step[];
}

/** Only those that start their application: a page may also show one as a sketch. */
export function transcriptsOf(page: string, text: string): Transcript[] {
  const transcripts: { page: string; line: number; steps: Step[] }[] = [];
  for (const block of text.matchAll(/^```(ts|js|console)\n([^]*?)^```$/gm)) {
    const [, mark = "", code = ""] = block;
    const steps = mark === "console" ? commandsOf(code) : fileOf(code);
    const [first] = steps;
    if (first?.is === "file" && first.name === "app.ts") {
      transcripts.push({ page, line: text.slice(0, block.index).split("\n").length, steps });
    } else {
      transcripts.at(-1)?.steps.push(...steps);
    }
  }
  return transcripts.filter(({ steps }) => steps.some((step) => step.is === "command"));
}

function fileOf(code: string): Step[] {
  const name = /^\/\/ ([\w.-]+\.m?[jt]s)\n/.exec(code)?.[1];
  return name === undefined ? [] : [{ is: "file", name, text: code }];
}

function commandsOf(code: string): Step[] {
  return code
    .split(/^\$ /m)
    .slice(1)
    .map((typed) => {
      const [command = "", ...answer] = typed.split("\n");
      return { is: "command", command, answer: answer.join("\n").trimEnd() };
    });
}
