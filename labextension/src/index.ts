import {
  ConnectionLost,
  IConnectionLost,
  JupyterFrontEnd,
  JupyterFrontEndPlugin,
  JupyterLab
} from '@jupyterlab/application';
import { Clipboard, Dialog, ICommandPalette, Notification, showDialog } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IStatusBar } from '@jupyterlab/statusbar';

import { tellUse } from './activity';
import { Connection } from './connection';
import { Ending } from './ending';
import { Notices } from './notices';
import { SessionPanel } from './panel';
import { Documents } from './saving';
import { ISession, Session } from './session';
import { TimeLeft } from './status';

const CATEGORY = 'Session';

/** The commands. */
const COMMANDS = {
  show: 'session:show',
  copy: 'session:copy-job-id',
  log: 'session:open-log',
  stop: 'session:stop'
};

const session: JupyterFrontEndPlugin<Session> = {
  id: 'firecrest-launcher:session',
  description: 'What the server says of the session.',
  autoStart: true,
  provides: ISession,
  activate: app => new Session(new Connection(app.serviceManager.serverSettings))
};

const connectionLost: JupyterFrontEndPlugin<IConnectionLost> = {
  id: 'firecrest-launcher:connection-lost',
  description: "Says quietly that the server can't be reached, or that the session has ended.",
  autoStart: true,
  requires: [ISession],
  provides: IConnectionLost,
  activate:
    (_, { connection }: Session): IConnectionLost =>
    async (...lost) => {
      if (connection.state === 'absent') {
        await ConnectionLost(...lost);
      } else {
        await connection.check();
      }
    }
};

const panel: JupyterFrontEndPlugin<void> = {
  id: 'firecrest-launcher:panel',
  description: 'Shows the session, its time, and its end.',
  autoStart: true,
  requires: [ISession, IDocumentManager],
  optional: [IStatusBar, ICommandPalette, JupyterLab.IInfo],
  activate: (
    app: JupyterFrontEnd,
    session: Session,
    manager: IDocumentManager,
    statusBar: IStatusBar | null,
    palette: ICommandPalette | null,
    info: JupyterLab.IInfo | null
  ) => {
    const { commands } = app;
    const documents = new Documents(app.shell, manager);
    const notices = new Notices(session);
    new Ending(session, documents, info);
    tellUse(session, () => notices.asks);

    const openLog = (): void => void manager.openOrReveal(session.log ?? '');
    const stop = (): void => void askToStop(session, documents);
    const panel = new SessionPanel(session, { openLog, stop });
    app.shell.add(panel, 'right', { rank: 1000, type: 'Session' });
    const show = (): void => app.shell.activateById(panel.id);

    const connected = (): boolean => session.connection.state === 'connected' && session.ending === null;
    commands.addCommand(COMMANDS.show, {
      label: 'Show Session',
      isVisible: () => !panel.isDisposed,
      execute: show
    });
    commands.addCommand(COMMANDS.copy, {
      label: 'Copy Job ID',
      isVisible: () => !!session.facts?.job.id,
      execute: () => {
        const id = session.facts?.job.id ?? '';
        Clipboard.copyToSystem(id);
        Notification.success(`Job ID ${id} is copied.`, { autoClose: 2000 });
      }
    });
    commands.addCommand(COMMANDS.log, {
      label: "Open Job's Log",
      isVisible: () => session.log !== null,
      execute: openLog
    });
    commands.addCommand(COMMANDS.stop, {
      label: 'Stop Session…',
      isVisible: () => session.facts !== null,
      isEnabled: connected,
      execute: stop
    });
    for (const command of Object.values(COMMANDS)) {
      palette?.addItem({ command, category: CATEGORY });
    }

    statusBar?.registerStatusItem('firecrest-launcher:time-left', {
      item: new TimeLeft(session, show),
      align: 'right',
      // Beside the bell: whatever is further left moves as people type, or click.
      rank: -0.5,
      priority: 1,
      isActive: () => session.facts !== null,
      activeStateChanged: session.changed
    });
    session.changed.connect(() => Object.values(COMMANDS).forEach(id => commands.notifyCommandChanged(id)));
    session.connection.stateChanged.connect((_, state) => {
      if (state === 'absent') {
        panel.dispose();
      }
    });
  }
};

/** Ask whether to stop the session; save what is unsaved, then stop it. */
async function askToStop(session: Session, documents: Documents): Promise<void> {
  const unsaved = documents.unsaved.length;
  const first =
    unsaved === 0
      ? ''
      : unsaved === 1
        ? ' One unsaved document is saved first.'
        : ` ${unsaved} unsaved documents are saved first.`;
  const question = await showDialog({
    title: 'Stop this session?',
    body: `Its job ends, and with it all kernels, terminals, and what they have in memory.${first}`,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Stop' })]
  });
  if (!question.button.accept) {
    return;
  }
  const left = await documents.save();
  if (left.length) {
    const answer = await showDialog({
      title: 'Stop all the same?',
      body: `Not saved: ${left.join(', ')}`,
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Stop' })]
    });
    if (!answer.button.accept) {
      return;
    }
  }
  session.stop();
}

export default [session, connectionLost, panel];
