// Watches files for changes, and names for files that appear. The watch is on their folders: editors that save by renaming a new
// file into place are seen like those that write in place, and whatever else is written beside them is nobody's business. Of a
// file whose folder is missing, the nearest folder above is watched until the rest of the way is there.

import { statSync, watch, type FSWatcher, type Stats } from "node:fs";
import path from "node:path";

/** Each costs a kernel watch. The sources of an application lie in fewer; what lies in others is not watched. */
const FOLDERS_MAX = 2_000;

/** One save is several events: a truncation, a write, a rename. */
const SETTLE_MS = 100;

interface Folder {
  readonly watcher: FSWatcher;
  readonly ino: number;
  /** Files and missing folders in it -> the watched files that they stand for. */
  readonly names: Map<string, Set<string>>;
}

export class FileWatch {
  readonly #onChange: (files: readonly string[]) => void;
  readonly #onBlind: (folder: string, error: unknown) => void;
  readonly #foldersMax: number;
  readonly #files = new Set<string>();
  readonly #folders = new Map<string, Folder>();
  readonly #changed = new Set<string>();
  #settle: NodeJS.Timeout | undefined;
  #blind = false;

  /** `onChange` gets what changed once it has been quiet for a moment; `onBlind`, once, the folder that cannot be watched. */
  constructor(
    onChange: (files: readonly string[]) => void,
    onBlind: (folder: string, error: unknown) => void = () => {},
    foldersMax = FOLDERS_MAX,
  ) {
    this.#onChange = onChange;
    this.#onBlind = onBlind;
    this.#foldersMax = foldersMax;
  }

  /** `sinceMs`: a file that was written later has changed already. */
  add(file: string, sinceMs = Infinity): void {
    if (!this.#files.has(file)) {
      this.#files.add(file);
      this.#anchor(file);
    }
    const stats = look(file);
    if (stats !== undefined && stats.mtimeMs > sinceMs) this.#note(file);
  }

  /** Forgets all others. */
  keep(files: ReadonlySet<string>): void {
    for (const file of this.#files) if (!files.has(file)) this.#files.delete(file);
    for (const [at, { watcher, names }] of this.#folders) {
      for (const [name, watched] of names) {
        for (const file of watched) if (!this.#files.has(file)) watched.delete(file);
        if (watched.size === 0) names.delete(name);
      }
      if (names.size > 0) continue;
      watcher.close();
      this.#folders.delete(at);
    }
  }

  close(): void {
    clearTimeout(this.#settle);
    for (const { watcher } of this.#folders.values()) watcher.close();
    this.#folders.clear();
  }

  #anchor(file: string): void {
    const folder = nearestFolder(file);
    const name = path.relative(folder, file).split(path.sep, 1)[0] ?? "";
    const names = this.#watched(folder)?.names;
    if (names === undefined) return;
    const files = names.get(name) ?? new Set();
    names.set(name, files.add(file));
    // Made between our look and our watch.
    if (nearestFolder(file) !== folder) this.#anchor(file);
  }

  #watched(folder: string): Folder | undefined {
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    try {
      if (this.#folders.size >= this.#foldersMax) throw new Error(`more than ${this.#foldersMax} folders`);
      const watcher = watch(folder, (_event, name) => this.#onEvent(folder, name ?? ""));
      watcher.on("error", () => this.#lost(folder));
      const made = { watcher, ino: statSync(folder).ino, names: new Map<string, Set<string>>() };
      this.#folders.set(folder, made);
      return made;
    } catch (error) {
      if (!this.#blind) this.#onBlind(folder, error);
      this.#blind = true;
      return undefined;
    }
  }

  #onEvent(at: string, name: string): void {
    const folder = this.#folders.get(at);
    if (folder === undefined) return;
    // A folder that was removed says so under its own name.
    if (name === path.basename(at) && look(at)?.ino !== folder.ino) return this.#lost(at);
    const files = folder.names.get(name);
    if (files === undefined) return;
    // A copy: a file may be put back where it was.
    for (const file of [...files]) {
      if (path.dirname(file) === at) this.#note(file);
      else this.#moved(folder, name, file);
    }
  }

  /** A part of the way to the file has appeared. */
  #moved(folder: Folder, name: string, file: string): void {
    folder.names.get(name)?.delete(file);
    this.#anchor(file);
    if (look(file) !== undefined) this.#note(file);
  }

  #lost(at: string): void {
    const folder = this.#folders.get(at);
    this.#folders.delete(at);
    folder?.watcher.close();
    for (const files of folder?.names.values() ?? []) {
      for (const file of files) {
        this.#anchor(file);
        this.#note(file);
      }
    }
  }

  #note(file: string): void {
    this.#changed.add(file);
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => {
      const files = [...this.#changed];
      this.#changed.clear();
      this.#onChange(files);
    }, SETTLE_MS);
  }
}

function nearestFolder(file: string): string {
  let folder = path.dirname(file);
  while (look(folder)?.isDirectory() !== true && path.dirname(folder) !== folder) folder = path.dirname(folder);
  return folder;
}

function look(file: string): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch {
    return undefined; // Where it would be is no folder, or not ours to see.
  }
}
