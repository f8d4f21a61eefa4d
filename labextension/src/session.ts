import { Token } from '@lumino/coreutils';
import { ISignal, Signal } from '@lumino/signaling';

import { Connection } from './connection';
import { FromServer, IFacts, IUse, Reason } from './messages';

/** The session of this page. */
export const ISession = new Token<Session>('firecrest-launcher:ISession');

/** A session as this page knows it. */
export class Session {
  constructor(readonly connection: Connection) {
    connection.heard.connect((_, message) => this.hear(message));
    connection.stateChanged.connect((_, state) => {
      if (state === 'connected' && this._watching) {
        connection.send({ kind: 'watch', on: true });
      }
      if (state !== 'connected') {
        this.use = null;
      }
      this._changed.emit();
    });
  }

  /** What it is, once the server has said so. */
  facts: IFacts | null = null;
  /** When it ends, in seconds since 1970. */
  ends: number | null = null;
  /** Minutes after which it ends if nobody uses it. */
  idle: number | null = null;
  /** Path of the job's log among JupyterLab's documents. */
  log: string | null = null;
  /** What it uses, while somebody watches. */
  use: IUse | null = null;
  /** Why it ends. */
  ending: Reason | null = null;
  /** Whether this page has asked for its end. */
  stopped = false;

  /** Something is otherwise than before. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Seconds until it ends by the server's clock; null if nobody knows, or never. */
  get left(): number | null {
    return this.ends === null ? null : this.until(this.ends);
  }

  /** Return the seconds until a moment, by the server's clock. */
  until(moment: number): number {
    return moment - Date.now() / 1000 - this.ahead;
  }

  /** Have what it uses told, or not. */
  set watching(on: boolean) {
    if (on !== this._watching) {
      this._watching = on;
      this.connection.send({ kind: 'watch', on });
    }
  }

  /** End it. */
  stop(): void {
    this.stopped = true;
    this.connection.send({ kind: 'stop' });
  }

  private hear(message: FromServer): void {
    if ('now' in message) {
      this.ahead = message.now - Date.now() / 1000;
    }
    if (message.kind === 'session') {
      this.facts = message.session;
      this.ends = message.ends;
      this.idle = message.idle;
      this.log = message.log;
    } else if (message.kind === 'use') {
      this.use = message;
    } else if (message.kind === 'ending') {
      this.ending = message.reason;
    } else {
      return;
    }
    this._changed.emit();
  }

  private ahead = 0;
  private _watching = false;
  private readonly _changed = new Signal<this, void>(this);
}
