import { Session } from './session';

/** Milliseconds between two words of it. */
const SELDOM = 20000;

const EVENTS = ['keydown', 'pointerdown', 'pointermove', 'wheel', 'touchstart'];

/**
 * Tell the server that somebody uses the session.
 *
 * @param urgent - Whether the server is about to end it because nobody does.
 */
export function tellUse(session: Session, urgent: () => boolean): void {
  let told = -Infinity;
  let place = '';
  const used = (event: Event): void => {
    if (event instanceof PointerEvent && event.type === 'pointermove') {
      // What moves below a pointer at rest is no use.
      const before = place;
      place = `${event.screenX} ${event.screenY}`;
      if (!before || before === place) {
        return;
      }
    }
    const now = performance.now();
    if (now - told >= (urgent() ? 1000 : SELDOM)) {
      told = now;
      session.connection.send({ kind: 'used' });
    }
  };
  // Opening the page is use. That a lost connection comes back is none.
  const opened = (): void => {
    if (session.connection.state === 'connected') {
      session.connection.stateChanged.disconnect(opened);
      session.connection.send({ kind: 'used' });
    }
  };
  session.connection.stateChanged.connect(opened);
  opened();
  for (const name of EVENTS) {
    document.addEventListener(name, used, { capture: true, passive: true });
  }
}
