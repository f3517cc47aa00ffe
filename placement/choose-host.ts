// Which worker hosts a new session. Owner first: a session hosted by the owner of its partition costs no extra hop and no
// directory entry, so the owner keeps it unless labels forbid it or it is clearly more loaded than the others.

export interface Candidate {
  readonly slot: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Undefined while nothing has been reported: taken as idle. */
  readonly load: CandidateLoad | undefined;
}

export interface CandidateLoad {
  readonly sessions: number;
  /** 0 to 1. */
  readonly utilisation: number;
  /** Bytes. */
  readonly rssBytes: number;
}

export interface PlacementWish {
  /** `owner-first`: stay with the owner unless it is clearly more loaded. `spread`: the less loaded of two drawn at random. */
  readonly policy: "owner-first" | "spread";
  /** The host's node must carry all of these. */
  readonly labels: Readonly<Record<string, string>>;
}

export const defaultWish: PlacementWish = { policy: "owner-first", labels: {} };

/**
 * How much more loaded than the mean of the others the owner must be before it gives a session away. Too small: sessions leave their
 * owner for noise and cost a hop for ever. Too large: a hot worker keeps what others could carry.
 */
export const OWNER_EXCESS_MAX = 0.25;

/**
 * The slot to host the session, or undefined when no candidate carries the labels.
 * @param owner slot of the partition's owner
 * @param draw numbers in [0, 1), one a call
 */
export function chooseHost(
  owner: string,
  candidates: readonly Candidate[],
  wish: PlacementWish,
  draw: () => number,
): string | undefined {
  const fit = candidates.filter((candidate) => carries(candidate.labels, wish.labels));
  const self = fit.find((candidate) => candidate.slot === owner);
  if (fit.length < 2) return fit[0]?.slot;
  const scores = scoresOf(fit);
  if (self !== undefined && wish.policy === "owner-first") {
    const own = scores[fit.indexOf(self)] ?? 0;
    const others = (scores.reduce((sum, score) => sum + score, 0) - own) / (fit.length - 1);
    if (own <= others + OWNER_EXCESS_MAX) return owner;
  }
  // The less loaded of two different ones at random: nearly as even as the best of all, without everyone rushing to the same one.
  const first = Math.floor(draw() * fit.length);
  const second = (first + 1 + Math.floor(draw() * (fit.length - 1))) % fit.length;
  const better = (scores[second] ?? 0) < (scores[first] ?? 0) ? second : first;
  return fit[better]?.slot;
}

export function carries(labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

/**
 * One number a candidate, 0 (idle) to about 1: half its CPU, half its share of sessions and memory. Sessions and memory count
 * relative to the fullest, and only beyond what an empty worker has anyway, so a mesh with a dozen sessions is never
 * "unbalanced".
 */
function scoresOf(candidates: readonly Candidate[]): number[] {
  const mostSessions = Math.max(SESSIONS_NOISE, ...candidates.map((candidate) => candidate.load?.sessions ?? 0));
  const mostRss = Math.max(RSS_NOISE_BYTES, ...candidates.map((candidate) => candidate.load?.rssBytes ?? 0));
  return candidates.map(({ load }) =>
    load === undefined
      ? 0
      : 0.5 * load.utilisation + 0.3 * (load.sessions / mostSessions) + 0.2 * (load.rssBytes / mostRss),
  );
}

/** Below so many sessions, how many a worker has says nothing about its load. */
const SESSIONS_NOISE = 1_000;
/** About the resident size of a worker that has just started, twice over. */
const RSS_NOISE_BYTES = 256 * 1024 * 1024;
