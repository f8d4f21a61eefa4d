import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { ISignal, Signal } from '@lumino/signaling';

import { FromPage, FromServer } from './messages';

/**
 * How a page and its server stand: `absent` where the server knows no sessions, `lost` where nobody answers,
 * `gone` where the hub says that the server does not run, `ended` once the server has said so itself.
 */
export type State = 'connecting' | 'connected' | 'lost' | 'gone' | 'ended' | 'absent';

const PATH = 'launcher/panel';
const SHORTEST = 1000;
const LONGEST = 30000;

/** JupyterHub's answer in the place of a server that does not run. */
const NOT_RUNNING = 424;

/** The websocket to the server; it is opened again until the server has said that it ends. */
export class Connection {
  constructor(private readonly settings: ServerConnection.ISettings) {
    this.open();
  }

  /** How it stands. */
  get state(): State {
    return this._state;
  }

  /** It stands otherwise than before. */
  get stateChanged(): ISignal<this, State> {
    return this._stateChanged;
  }

  /** What the server says. */
  get heard(): ISignal<this, FromServer> {
    return this._heard;
  }

  /** Say something; while nobody is there to hear it, it is lost. */
  send(message: FromPage): void {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify(message));
    }
  }

  /** Look whether the server is there still: a network may go without a word to its sockets. */
  async check(): Promise<void> {
    const socket = this.socket;
    if (this._state !== 'connected') {
      return;
    }
    const status = await this.ask();
    if (!status || status === NOT_RUNNING || status >= 500) {
      this.closed(socket);
    }
  }

  private open(): void {
    const { appendToken, token, wsUrl } = this.settings;
    const query = appendToken && token ? `?token=${encodeURIComponent(token)}` : '';
    const socket = new this.settings.WebSocket(URLExt.join(wsUrl, PATH) + query);
    this.socket = socket;
    socket.onmessage = event => {
      // Not before: what stands in between may take a connection, and drop it.
      this.attempts = 0;
      this.become('connected');
      const message = JSON.parse(event.data) as FromServer;
      this.ending ||= message.kind === 'ending';
      this._heard.emit(message);
    };
    socket.onclose = () => this.closed(socket);
  }

  private closed(socket: WebSocket | null): void {
    if (!socket || socket !== this.socket) {
      return;
    }
    this.socket = null;
    socket.close();
    if (this.ending) {
      this.become('ended');
    } else {
      void this.recover();
    }
  }

  private async recover(): Promise<void> {
    const status = await this.ask();
    if (this._state === 'connecting' && (status === 404 || status === 403)) {
      this.become('absent');
      return;
    }
    if (this._state !== 'connecting') {
      this.become(status === NOT_RUNNING ? 'gone' : 'lost');
    }
    const delay = Math.min(LONGEST, SHORTEST * 2 ** this.attempts++);
    setTimeout(() => this.open(), delay * (0.5 + Math.random() / 2));
  }

  /** Return the status with which the server, or who stands in its place, answers; 0 if nobody does. */
  private async ask(): Promise<number> {
    const url = URLExt.join(this.settings.baseUrl, PATH);
    try {
      return (await ServerConnection.makeRequest(url, {}, this.settings)).status;
    } catch {
      return 0;
    }
  }

  private become(state: State): void {
    if (state !== this._state) {
      this._state = state;
      this._stateChanged.emit(state);
    }
  }

  private _state: State = 'connecting';
  private readonly _stateChanged = new Signal<this, State>(this);
  private readonly _heard = new Signal<this, FromServer>(this);
  private socket: WebSocket | null = null;
  private attempts = 0;
  private ending = false;
}
