import { Dialog, showDialog } from '@jupyterlab/apputils';
import { JupyterLab } from '@jupyterlab/application';
import * as React from 'react';

import * as hub from './hub';
import { Reason } from './messages';
import { Documents } from './saving';
import { Session } from './session';
import { long } from './words';

/** Milliseconds for what kernels said last: it comes on sockets of their own. */
const LAST_WORDS = 300;

/** Saves what is open when a session ends, and tells its user that it has ended, and why. */
export class Ending {
  constructor(
    private readonly session: Session,
    private readonly documents: Documents,
    private readonly info: JupyterLab.IInfo | null
  ) {
    session.connection.heard.connect((_, message) => {
      if (message.kind === 'ending') {
        void this.save();
      }
    });
    session.connection.stateChanged.connect((_, state) => {
      const over = state === 'ended' || state === 'gone';
      if (over && !this.over) {
        this.over = true;
        this.work(false);
        void this.tell();
      } else if (state === 'connected' && this.over) {
        this.over = false;
        this.work(true);
      }
    });
  }

  private async save(): Promise<void> {
    this.saved = this.saveAfter(this.saved);
    this.session.connection.send({ kind: 'saved', unsaved: await this.saved });
  }

  /** Save what is open; after what was saved before, and what kernels have said since. */
  private async saveAfter(before: Promise<string[]> | null): Promise<string[]> {
    if (before) {
      await before;
      await new Promise(heard => setTimeout(heard, LAST_WORDS));
    }
    return this.documents.save();
  }

  private async tell(): Promise<void> {
    const unsaved = (await this.saved) ?? this.documents.unsaved.map(each => each.localPath);
    if (this.session.stopped && !unsaved.length) {
      window.location.assign(hub.home());
      return;
    }
    // One that is open would have to be answered first.
    Dialog.tracker.forEach(dialog => dialog.reject());
    const result = await showDialog({
      title: 'Your session has ended.',
      body: <Ended why={why(this.session)} unsaved={unsaved} />,
      buttons: [Dialog.cancelButton({ label: 'Close' }), Dialog.okButton({ label: 'Start again' })]
    });
    if (result.button.accept) {
      window.location.assign(hub.spawn());
    }
  }

  /** Have JupyterLab ask the server for this and that, or not, where it is gone. */
  private work(on: boolean): void {
    if (this.info) {
      this.info.isConnected = on;
    }
    this.documents.autosave = on;
  }

  private saved: Promise<string[]> | null = null;
  private over = false;
}

/** What the final dialog says. */
function Ended({ why, unsaved }: { why: string; unsaved: string[] }): JSX.Element {
  if (!unsaved.length) {
    return (
      <div className="jp-Session-ended">
        <p>{why}</p>
        <p>All documents were saved.</p>
      </div>
    );
  }
  return (
    <div className="jp-Session-ended">
      <p>{why}</p>
      <p>Not saved:</p>
      <ul>
        {unsaved.map(path => (
          <li key={path}>{path}</li>
        ))}
      </ul>
      <p>Copy what you need of them before you leave this page.</p>
    </div>
  );
}

/** Say why a session has ended. */
function why({ ending, idle, stopped }: Session): string {
  const reasons: Record<Reason, string> = {
    walltime: 'Its time was over.',
    idle: idle ? `Nobody used it for ${long(idle * 60)}.` : 'Nobody used it.',
    stopped: stopped ? 'You stopped it.' : 'It was stopped.',
    terminated: 'Its job was told to end: it was cancelled, or its node was needed.',
    'not-wanted': 'The hub does not know it any more.',
    exit: 'Its server has ended.'
  };
  return ending ? (reasons[ending] ?? reasons.exit) : 'Its server does not run any more.';
}
