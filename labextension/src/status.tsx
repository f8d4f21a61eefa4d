import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { sessionIcon } from './icon';
import { Session } from './session';
import { long, moment, short } from './words';

/** Seconds before the end from which on it shows in colour. */
const SOON = 10 * 60;
const NOW = 2 * 60;

/** In the status bar: how much time is left. A press opens the panel. */
export class TimeLeft extends ReactWidget {
  constructor(
    private readonly session: Session,
    private readonly open: () => void
  ) {
    super();
    this.addClass('jp-Session-timeLeft');
    this.addClass('jp-mod-highlighted');
  }

  protected override render(): JSX.Element {
    return <UseSignal signal={this.session.changed}>{() => this.content()}</UseSignal>;
  }

  private content(): JSX.Element {
    return <Content session={this.session} open={this.open} />;
  }
}

function Content({ session, open }: { session: Session; open: () => void }): JSX.Element {
  useTick(() => text(session));
  const left = session.left;
  const level = left === null || !standing(session) ? '' : left <= NOW ? 'error' : left <= SOON ? 'warn' : '';
  const words = `${title(session)}. Show the session.`;
  return (
    <button type="button" data-level={level} title={words} aria-label={words} onClick={open}>
      <sessionIcon.react tag="span" width="14px" height="14px" />
      <span>{text(session)}</span>
    </button>
  );
}

/** Render again when a text has changed with time. */
export function useTick(text: () => string): void {
  const [, show] = React.useState('');
  React.useEffect(() => {
    const timer = setInterval(() => show(text()), 1000);
    return () => clearInterval(timer);
  });
}

function standing(session: Session): boolean {
  return session.connection.state === 'connected' && session.ending === null;
}

function text(session: Session): string {
  const { left, facts } = session;
  switch (session.connection.state) {
    case 'ended':
    case 'gone':
      return 'Session ended';
    case 'connected':
      if (session.ending !== null) {
        return 'Session ends';
      }
      return left === null ? facts?.node || 'Session' : short(left);
    default:
      return 'Not connected';
  }
}

function title(session: Session): string {
  const { ends, left, facts } = session;
  if (!standing(session)) {
    return text(session);
  }
  if (ends === null || left === null) {
    return facts?.node ? `This session runs on ${facts.node}` : 'This session';
  }
  return `This session ends at ${moment(ends)} (in ${long(left)})`;
}
