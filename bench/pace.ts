// How long and how large a benchmark is.

export interface Pace {
  readonly rounds: number;
  readonly warmUpSeconds: number;
  /** Of one side in one round. */
  readonly seconds: number;
  /** Sessions that requests are spread over. */
  readonly sessions: number;
  /** Sockets that echo. */
  readonly sockets: number;
  /** Idle sessions whose memory is counted. */
  readonly idleSessions: number;
  /** Idle sockets whose memory is counted. */
  readonly idleSockets: number;
  /** Clients that come at once. */
  readonly crowd: number;
}

/** Many short rounds: what else goes on in the machine comes and goes in seconds, and the median leaves it out. */
export const fullPace: Pace = {
  rounds: 8,
  warmUpSeconds: 1,
  seconds: 2,
  sessions: 10_000,
  sockets: 1_000,
  idleSessions: 200_000,
  idleSockets: 5_000,
  crowd: 10_000,
};

/** Shows that everything runs; its figures mean little. */
export const quickPace: Pace = {
  rounds: 1,
  warmUpSeconds: 1,
  seconds: 1,
  sessions: 500,
  sockets: 100,
  idleSessions: 5_000,
  idleSockets: 200,
  crowd: 500,
};

/** One round: a profile needs samples more than medians, and workers that end soon enough to write it, with few sessions to stop. */
export const profilePace: Pace = { ...fullPace, rounds: 1, warmUpSeconds: 1, seconds: 3 };
