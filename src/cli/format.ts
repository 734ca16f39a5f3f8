import { shortSha } from '../domain/names.js';
import type { Release } from '../domain/operation.js';

/** `0.4 s`, `14.2 s`, `3 min 05 s`, `2 h 10 min`. */
export function formatSeconds(ms: number): string {
  const seconds = Math.max(ms, 0) / 1_000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${Math.floor(whole / 3_600)} h ${String(Math.floor((whole % 3_600) / 60)).padStart(2, '0')} min`;
}

/** `14:02:31` here and today, else with its date. */
export function formatClock(at: string, now: Date = new Date()): string {
  const date = new Date(at);
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(':');
  return date.toDateString() === now.toDateString() ? clock : `${formatDay(date)} ${clock}`;
}

/** `2 min ago`. */
export function formatAge(at: string, now: Date = new Date()): string {
  const minutes = Math.floor((now.getTime() - Date.parse(at)) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return `${Math.floor(minutes / (24 * 60))} days ago`;
}

/** `4f2a91c0de (green)`. */
export function formatRelease({ sha, color }: Release): string {
  return color === null ? shortSha(sha) : `${shortSha(sha)} (${color})`;
}

const twoDigits = (number: number): string => String(number).padStart(2, '0');

const formatDay = (date: Date): string =>
  [date.getFullYear(), twoDigits(date.getMonth() + 1), twoDigits(date.getDate())].join('-');
