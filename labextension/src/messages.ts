/** What the server and its pages say to each other. Times are seconds since 1970, by the server's clock. */

/** Why a session ends. */
export type Reason = 'walltime' | 'idle' | 'stopped' | 'terminated' | 'not-wanted' | 'exit';

/** What a session is; what nobody knows is empty or null. */
export interface IFacts {
  cluster: string;
  environment: { title: string; kind: string };
  images: { mount: string; label: string; name: string; loaded: string[]; others: string[] }[];
  node: string;
  job: {
    id: string;
    partition: string;
    account: string;
    nodes: string;
    start: number | null;
    end: number | null;
  };
}

/** A session as it is now. */
export interface ISession {
  kind: 'session';
  now: number;
  /** When the session ends. */
  ends: number | null;
  /** Minutes after which it ends if nobody uses it. */
  idle: number | null;
  /** Path of the job's log among JupyterLab's documents. */
  log: string | null;
  session: IFacts;
}

/** The end comes near. */
export interface IWarning {
  kind: 'warning';
  reason: 'walltime' | 'idle';
  now: number;
  ends: number;
}

/** What the job uses; memory is in bytes. */
export interface IUse {
  kind: 'use';
  memory: { used: number; limit: number | null } | null;
  /** Processors at work, and how many the job has. */
  cpu: { used: number; of: number } | null;
  /** `used` is in percent. */
  gpus: { name: string; used: number | null; memory: number; limit: number }[];
}

/** A kernel was killed; `memory` says whether for want of memory is known, or just likely. */
export interface IKilled {
  kind: 'killed';
  path: string | null;
  name: string;
  memory: boolean;
  /** Bytes that the job may use. */
  limit: number | null;
}

/** The session ends: the page saves, and answers. */
export interface IEnding {
  kind: 'ending';
  reason: Reason;
}

/** What the server says. */
export type FromServer = ISession | IWarning | { kind: 'kept' } | IUse | IKilled | IEnding;

/** What a page says. */
export type FromPage =
  | { kind: 'used' }
  | { kind: 'watch'; on: boolean }
  | { kind: 'saved'; unsaved: string[] }
  | { kind: 'stop' };
