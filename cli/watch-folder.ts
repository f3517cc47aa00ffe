// Watches a folder and those below it for changes of files. One watch a folder, none a file: editors that save by renaming a new
// file into place are seen like those that write in place. Folders that hold no source of the application are left out.

import { readdirSync, watch, type FSWatcher } from "node:fs";
import path from "node:path";

const IGNORED = new Set(["node_modules", ".git", ".mesh", "coverage"]);

/** Each costs a kernel watch. A tree with more folders than this is not an application's source; the rest stays unwatched. */
const FOLDERS_MAX = 2_000;

/** One save is several events: a truncation, a write, a rename. */
const SETTLE_MS = 100;

/** `onChange` gets the changed path, relative to the folder, once things have been quiet for a moment. */
export function watchFolder(folder: string, onChange: (file: string) => void): () => void {
  const watchers = new Map<string, FSWatcher>();
  let settle: NodeJS.Timeout | undefined;

  function add(dir: string): void {
    if (watchers.has(dir) || watchers.size >= FOLDERS_MAX) return;
    try {
      const watcher = watch(dir, (_event, name) => {
        if (name !== null) onEvent(dir, name);
      });
      watcher.on("error", () => remove(dir));
      watchers.set(dir, watcher);
      for (const entry of readdirSync(dir, { withFileTypes: true })) {
        if (entry.isDirectory() && !IGNORED.has(entry.name)) add(path.join(dir, entry.name));
      }
    } catch {
      // The folder went between its event and our look: its parent's watch has told, or will.
      remove(dir);
    }
  }

  function remove(dir: string): void {
    watchers.get(dir)?.close();
    watchers.delete(dir);
  }

  function onEvent(dir: string, name: string): void {
    // Editors' own files: swap files, backups and locks. They come and go without a change of the source.
    if (IGNORED.has(name) || /^\.|~$|\.sw[a-z]$|^4913$/.test(name)) return;
    const file = path.join(dir, name);
    if (watchers.has(file)) remove(file);
    addIfFolder(file);
    clearTimeout(settle);
    settle = setTimeout(() => onChange(path.relative(folder, file)), SETTLE_MS);
  }

  function addIfFolder(file: string): void {
    try {
      readdirSync(file);
    } catch {
      return; // A file, or gone.
    }
    add(file);
  }

  add(folder);
  return () => {
    clearTimeout(settle);
    for (const dir of watchers.keys()) remove(dir);
  };
}
