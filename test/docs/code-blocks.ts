// The TypeScript on a page. Each block that is marked `ts` is a module that stands for itself; blocks
// without a mark are sketches.

export interface CodeBlock {
  /** Says page and line, so that an error of the compiler leads there. */
  readonly file: string;
  readonly code: string;
}

export function codeBlocks(page: string, text: string): CodeBlock[] {
  return [...text.matchAll(/^```ts\n([^]*?)^```$/gm)]
    .filter(([, code = ""]) => /^(import|export) /m.test(code))
    .map(({ 1: code = "", index }) => {
      const line = text.slice(0, index).split("\n").length;
      return { file: `${page.replaceAll(/[^\w]+/g, "-")}-line-${line}.ts`, code };
    });
}
