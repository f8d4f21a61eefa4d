import { Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';

import { State } from './connection';
import * as hub from './hub';
import { FromServer, IKilled, IWarning } from './messages';
import { Session } from './session';
import { long, moment, size } from './words';

/** Seconds before the end from which on a warning stays. */
const LAST = 150;

/** Milliseconds without a server that nobody needs to hear of. */
const SHORT = 3000;

/** The longest text that JupyterLab shows in full. */
const LONGEST = 140;

/** What stands before the title of a page that its user should look at. */
const MARK = '(!) ';

/** Notifications about a session. */
export class Notices {
  constructor(private readonly session: Session) {
    session.connection.heard.connect((_, message) => this.hear(message));
    session.connection.stateChanged.connect((_, state) => this.stand(state));
  }

  /** Whether its user is asked to say that the session is still used. */
  get asks(): boolean {
    return this.unused !== null;
  }

  private hear(message: FromServer): void {
    switch (message.kind) {
      case 'warning':
        if (message.reason === 'idle') {
          this.warnUnused(message);
        } else {
          this.warnEnd(message);
        }
        break;
      case 'kept':
        this.keep();
        break;
      case 'killed':
        Notification.error(killed(message), { autoClose: false });
        break;
      case 'ending':
        this.keep();
        this.end = dismissed(this.end);
        break;
    }
  }

  private warnEnd(warning: IWarning): void {
    const left = this.session.until(warning.ends);
    const message =
      `This session ends in ${long(left)}, at ${moment(warning.ends)}. ` +
      'Everything open will be saved; kernels end.';
    dismissed(this.end);
    this.end =
      left < LAST
        ? Notification.error(message, { autoClose: false })
        : Notification.warning(message, { autoClose: 60000 });
  }

  private warnUnused(warning: IWarning): void {
    const message =
      `Nobody has used this session for a while. ` +
      `It ends in ${long(this.session.until(warning.ends))}, at ${moment(warning.ends)}.`;
    dismissed(this.unused);
    this.unused = Notification.warning(message, {
      autoClose: false,
      actions: [
        {
          label: 'Keep the session',
          displayType: 'accent',
          callback: () => this.session.connection.send({ kind: 'used' })
        }
      ]
    });
    if (!document.title.startsWith(MARK)) {
      document.title = MARK + document.title;
    }
  }

  private keep(): void {
    this.unused = dismissed(this.unused);
    if (document.title.startsWith(MARK)) {
      document.title = document.title.slice(MARK.length);
    }
  }

  private stand(state: State): void {
    if (state === 'lost') {
      this.patience ??= setTimeout(() => this.warnLost(), SHORT);
      return;
    }
    clearTimeout(this.patience);
    this.patience = undefined;
    this.lost = dismissed(this.lost);
    if (state !== 'connected') {
      this.keep();
    }
  }

  private warnLost(): void {
    this.lost = Notification.warning(
      "The server can't be reached. It may have ended, or the network is down; it is tried again.",
      {
        autoClose: false,
        actions: [{ label: 'My servers', callback: () => window.open(hub.home(), '_blank', 'noopener') }]
      }
    );
  }

  private end: string | null = null;
  private unused: string | null = null;
  private lost: string | null = null;
  private patience: ReturnType<typeof setTimeout> | undefined;
}

/** Take a notification away. */
function dismissed(id: string | null): null {
  if (id) {
    Notification.dismiss(id);
  }
  return null;
}

/** Say that a kernel was killed: with its name if there is room. */
function killed({ path, name, memory, limit }: IKilled): string {
  const whose = path ? `The kernel of ${PathExt.basename(path)}` : 'A kernel';
  const what = memory
    ? ` ran out of memory${limit ? `: the job has ${size(limit)}` : ''}.`
    : ' was killed; running out of memory is the usual cause.';
  const rest = `${what} Start again with more memory, or load less.`;
  const named = name ? `${whose} (${name})${rest}` : whose + rest;
  return named.length <= LONGEST ? named : whose + rest;
}
