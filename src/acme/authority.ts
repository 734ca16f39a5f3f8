import type { Host } from '../hosts/host.js';

/** A certificate authority, and where all that is secret between it and us lies. */
export interface Authority {
  /** The edge's. */
  readonly host: Host;
  /** Folder of the edge's state. */
  readonly state: string;
  /** URL of its directory (RFC 8555, 7.1.1). */
  readonly directory: string;
  /** PEM file of the roots that its own server is trusted by, besides the system's; beside bascule.yaml, not on the edge's host. */
  readonly caFile?: string;
}

/** How something is waited for. */
export interface Patience {
  readonly signal?: AbortSignal;
  /** Called each time it is asked. */
  readonly onPoll?: () => void;
  /** 90 s where it is left out. */
  readonly timeLimitMs?: number;
}

/** How an authority is called in messages. */
export const nameOf = ({ directory }: Pick<Authority, 'directory'>): string => new URL(directory).host;
