// Aligned tables for people. Cells are shown as they are, but for what would break the line or steer the terminal: session names
// come from clients.

export interface Column {
  readonly title: string;
  /** Numbers stand to the right. */
  readonly align?: "left" | "right";
}

const GAP = "  ";

// oxlint-disable-next-line no-control-regex
const STEERING = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Header and rows, without a line break at the end. `styleTitle` colours the header after it was measured. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly (string | number)[])[],
  styleTitle: (text: string) => string = (text) => text,
): string {
  const cells = rows.map((row) => columns.map((_, at) => String(row[at] ?? "").replaceAll(STEERING, "?")));
  const widths = columns.map((column, at) =>
    Math.max(column.title.length, ...cells.map((row) => widthOf(row[at] ?? ""))),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) => {
        const padding = " ".repeat((widths[at] ?? 0) - widthOf(cell));
        return columns[at]?.align === "right" ? padding + cell : cell + padding;
      })
      .join(GAP)
      .trimEnd();
  return [styleTitle(line(columns.map((column) => column.title))), ...cells.map(line)].join("\n");
}

const graphemes = new Intl.Segmenter();

/** As a person counts characters. Wide ones count once: a table that is a little off is still a table. */
function widthOf(cell: string): number {
  return /^[\u0020-\u007e]*$/.test(cell) ? cell.length : Array.from(graphemes.segment(cell)).length;
}

/** `5s`, `3m 20s`, `2h 5m`, `4d 1h`: two units are enough for a person. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m ${seconds % 60}s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h ${Math.floor((seconds % 3_600) / 60)}m`;
  return `${Math.floor(seconds / 86_400)}d ${Math.floor((seconds % 86_400) / 3_600)}h`;
}
