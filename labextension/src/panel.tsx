import { Clipboard } from '@jupyterlab/apputils';
import { copyIcon, ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { sessionIcon } from './icon';
import { IFacts } from './messages';
import { Session } from './session';
import { useTick } from './status';
import { Use } from './use';
import { long, moment, short } from './words';

/** What the panel's buttons do. */
export interface IActions {
  openLog: () => void;
  stop: () => void;
}

/** The side panel: what the session is, what it uses, and how to stop it. */
export class SessionPanel extends ReactWidget {
  constructor(
    private readonly session: Session,
    private readonly actions: IActions
  ) {
    super();
    this.id = 'firecrest-launcher-session';
    this.addClass('jp-Session');
    this.title.icon = sessionIcon;
    this.title.caption = 'Session';
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Session');
    this.node.tabIndex = -1;
    document.addEventListener('visibilitychange', () => this.watch());
  }

  protected override render(): JSX.Element {
    return (
      <UseSignal signal={this.session.changed}>
        {() => <Content session={this.session} actions={this.actions} />}
      </UseSignal>
    );
  }

  protected override onActivateRequest(_: Message): void {
    this.node.focus();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.watch();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.watch();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.watch();
  }

  /** Have the server tell what the session uses, if anybody sees it here. */
  private watch(): void {
    this.session.watching = this.isVisible && document.visibilityState === 'visible';
  }
}

function Content({ session, actions }: { session: Session; actions: IActions }): JSX.Element {
  const { facts, log, use } = session;
  const connected = session.connection.state === 'connected' && session.ending === null;
  return (
    <>
      <h1>Session</h1>
      {facts && <Facts session={session} facts={facts} />}
      {connected && use && <Use use={use} />}
      {connected ? (
        <div className="jp-Session-actions">
          {log && (
            <button type="button" onClick={actions.openLog}>
              Job's log
            </button>
          )}
          <button type="button" onClick={actions.stop}>
            Stop session…
          </button>
        </div>
      ) : (
        <p role="status">{standing(session)}</p>
      )}
    </>
  );
}

function standing({ connection, ending }: Session): string {
  if (connection.state === 'ended' || connection.state === 'gone') {
    return 'This session has ended.';
  }
  return ending === null ? 'Not connected to the session.' : 'This session ends.';
}

function Facts({ session, facts }: { session: Session; facts: IFacts }): JSX.Element {
  const { environment, images, job, node } = facts;
  const running = session.connection.state === 'connected' || session.connection.state === 'lost';
  return (
    <dl>
      <Row name="Cluster">{facts.cluster}</Row>
      <Row name="Environment">
        {environment.title || kind(environment.kind)}
        {environment.title && environment.kind === 'container' && <small>container</small>}
      </Row>
      {images.map(image => (
        <Row key={image.mount} name={image.mount} wide>
          {image.label}
          {image.loaded.length > 0 && <small>{views(image.loaded)}</small>}
          {image.others.length > 0 && <small>not loaded: {image.others.join(', ')}</small>}
        </Row>
      ))}
      {job.id && (
        <Row name="Job">
          <JobId id={job.id} />
        </Row>
      )}
      <Row name="Node">{node}</Row>
      <Row name="Nodes">{job.nodes === node ? '' : job.nodes}</Row>
      <Row name="Account">{job.account}</Row>
      <Row name="Partition">{job.partition}</Row>
      <Row name="Started">{job.start === null ? '' : moment(job.start)}</Row>
      {session.ends !== null && (
        <Row name="Ends">
          {moment(session.ends)}
          {running && session.ending === null && <Left session={session} />}
        </Row>
      )}
      <Row name="Unused">{session.idle === null ? '' : `ends after ${long(session.idle * 60)}`}</Row>
    </dl>
  );
}

/** A fact, unless nobody knows it. */
function Row(props: React.PropsWithChildren<{ name: string; wide?: boolean }>): JSX.Element | null {
  const { name, wide, children } = props;
  if (!children) {
    return null;
  }
  return (
    <div data-wide={wide}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Left({ session }: { session: Session }): JSX.Element {
  const text = (): string => short(session.left ?? 0);
  useTick(text);
  return <>, {`in\u00a0${text()}`}</>;
}

/** The job's id, and what copies it. */
function JobId({ id }: { id: string }): JSX.Element {
  const [copied, show] = React.useState(false);
  React.useEffect(() => {
    const timer = setTimeout(() => show(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = (): void => {
    Clipboard.copyToSystem(id);
    show(true);
  };
  return (
    <span className="jp-Session-job">
      <code>{id}</code>
      <button type="button" title="Copy the job ID" aria-label="Copy the job ID" onClick={copy}>
        <copyIcon.react tag="span" width="14px" height="14px" />
      </button>
      <small role="status">{copied ? 'Copied' : ''}</small>
    </span>
  );
}

function views(names: string[]): string {
  return `${names.length === 1 ? 'view' : 'views'} ${names.join(', ')}`;
}

function kind(name: string): string {
  const kinds: Record<string, string> = { uenv: 'uenv', container: 'Container', host: 'The node itself' };
  return kinds[name] ?? name;
}
