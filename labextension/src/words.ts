/** Times and sizes, in words. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const GIB = 1024 ** 3;

/** Below so many seconds, they are counted. */
const COUNTED = 2 * MINUTE;

/** The number of each unit in a duration; those that are 0 are left out. */
function parts(seconds: number): [number, 'day' | 'hour' | 'minute' | 'second'][] {
  const left = Math.max(0, seconds);
  if (left < COUNTED) {
    return [[Math.floor(left), 'second']];
  }
  const rounded = Math.round(left / MINUTE) * MINUTE;
  const all: [number, 'day' | 'hour' | 'minute'][] = [
    [Math.floor(rounded / DAY), 'day'],
    [Math.floor((rounded % DAY) / HOUR), 'hour'],
    [(rounded % HOUR) / MINUTE, 'minute']
  ];
  return all.filter(([count]) => count > 0);
}

/** A duration for narrow places: `1 h 12 min`. */
export function short(seconds: number): string {
  const units = { day: 'd', hour: 'h', minute: 'min', second: 's' };
  return parts(seconds)
    .map(([count, unit]) => `${count}\u00a0${units[unit]}`)
    .join(' ');
}

/** A duration in words: `1 hour 12 minutes`. */
export function long(seconds: number): string {
  return parts(seconds)
    .map(([count, unit]) => `${count} ${unit}${count === 1 ? '' : 's'}`)
    .join(' ');
}

/** A moment in the user's own time zone and manner; on another day than today, with that. */
export function moment(seconds: number): string {
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  const day: Intl.DateTimeFormatOptions = today ? {} : { weekday: 'short', day: 'numeric', month: 'short' };
  return date.toLocaleString(undefined, { ...day, hour: '2-digit', minute: '2-digit' });
}

/** A size: `1.5 GiB`. */
export function size(bytes: number): string {
  const gib = bytes / GIB;
  return gib >= 0.95 ? `${trimmed(gib)} GiB` : `${Math.round(gib * 1024)} MiB`;
}

/** A number as precise as people read it: `1.5`, `64`. */
export function trimmed(value: number): string {
  return String(value < 10 ? Math.round(value * 10) / 10 : Math.round(value));
}
