// Numbers, sizes and times for people.

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 });
const compactWide = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 2 });

export const count = (n: number): string => whole.format(n);
// Of a tile: as exact as there is room.
export const wide = (n: number): string => Math.abs(n) < 1_000_000 ? whole.format(n) : compactWide.format(n);
export const short = (n: number): string => Math.abs(n) < 10_000 ? whole.format(n) : compact.format(n);

export function rate(n: number): string {
  return `${n !== 0 && n < 10 ? n.toFixed(1) : short(n)}/s`;
}

export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (n >= 1024 && unit + 1 < units.length) { n /= 1024; ++unit; }
  return `${unit === 0 || n >= 100 ? n.toFixed(0) : n.toFixed(1)} ${units[unit]}`;
}

export function seconds(s: number): string {
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7_200) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3_600)} h`;
  return `${Math.round(s / 86_400)} d`;
}

export function milliseconds(ms: number | null): string {
  if (ms === null) return '–';
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`;
  return `${ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)} ms`;
}

export function clock(time: string | number | Date): string {
  return new Date(time).toLocaleTimeString('en-GB');
}

export function moment(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return '–';
  const today = new Date().toDateString() === date.toDateString();
  return today ? clock(date) : `${date.toLocaleDateString('en-CA')} ${clock(date)}`;
}

export function ago(time: string, now: number): string {
  const s = (now - new Date(time).getTime()) / 1000;
  return s < 1 ? 'just now' : `${seconds(s)} ago`;
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;
