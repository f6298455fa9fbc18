import type { BrokerAddress, FetchedRecords, FetchRequest } from './client.ts';
import type { Cluster } from './cluster.ts';
import { addressText } from './errors.ts';

/** Connections to one broker that fetch; more readers than this take turns. */
const lanesMax = 8;
/** One fetch waits no longer at the broker, so that a lane is soon free after its reader has gone ... */
const pollMsMax = 1_000;
/** ... and this much while others wait for a lane. */
const pollMsShared = 50;

/** Connections to one broker: a broker answers a connection's requests one after the other. */
interface Lanes {
  count: number;
  readonly free: number[];
  readonly waiting: ((lane: number) => void)[];
}

/** Fetches over connections that are used by one fetch at a time. */
export class FetchLanes {
  readonly #cluster: Cluster;
  readonly #pollMsMax: number;
  readonly #lanes = new Map<string, Lanes>();

  constructor(cluster: Cluster, requestTimeoutMs: number) {
    this.#cluster = cluster;
    this.#pollMsMax = Math.min(pollMsMax, requestTimeoutMs / 2);
  }

  /** May return before `waitMs` have passed, with nothing. */
  async fetch(leader: BrokerAddress, request: FetchRequest): Promise<FetchedRecords> {
    const lanes = this.#lanesOf(leader);
    const lane = await takeLane(lanes);
    const longest = lanes.waiting.length > 0 ? pollMsShared : this.#pollMsMax;
    const waitMs = Math.max(0, Math.round(Math.min(request.waitMs, longest)));
    try {
      return await this.#cluster.use(
        leader,
        (link) => link.fetch({ ...request, waitMs }),
        `fetch ${lane}`,
      );
    } finally {
      const next = lanes.waiting.shift();
      if (next === undefined) lanes.free.push(lane);
      else next(lane);
    }
  }

  #lanesOf(leader: BrokerAddress): Lanes {
    const key = addressText(leader);
    const known = this.#lanes.get(key);
    if (known !== undefined) return known;
    const lanes: Lanes = { count: 0, free: [], waiting: [] };
    this.#lanes.set(key, lanes);
    return lanes;
  }
}

function takeLane(lanes: Lanes): number | Promise<number> {
  const free = lanes.free.pop();
  if (free !== undefined) return free;
  if (lanes.count < lanesMax) {
    lanes.count += 1;
    return lanes.count;
  }
  return new Promise((resolve) => lanes.waiting.push(resolve));
}
