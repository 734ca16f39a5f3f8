import type { ErrorPage } from '../domain/configuration.js';
import { quotedText } from './words.js';

/** What HAProxy says to a visitor by itself, unless `edge.errors` has a page of this status. */
const builtIn: readonly { readonly status: number; readonly title: string; readonly text: string }[] = [
  { status: 500, title: 'Something went wrong', text: 'The fault is ours, not yours. Please try again in a moment.' },
  { status: 502, title: 'Something went wrong', text: 'The answer got lost on its way. Please try again in a moment.' },
  { status: 503, title: 'Not available right now', text: 'Please try again in a moment.' },
  { status: 504, title: 'This took too long', text: 'Please try again in a moment.' },
];

const html = 'text/html; charset=utf-8';
const style = 'body{font:18px/1.5 system-ui,sans-serif;max-width:30em;margin:20vh auto;padding:0 1em}';

/** A whole page, of about 400 bytes. */
const pageOf = (status: number, title: string, text: string): string =>
  `<!doctype html><meta charset=utf-8><meta name=viewport content="width=device-width"><title>${status} ${title}</title>` +
  `<style>${style}</style><h1>${title}</h1><p>${text}</p>\n`;

/** The pages of HAProxy's own answers as `status <status> content-type … string …`, by status. */
export function errorPages(own: readonly ErrorPage[]): readonly string[] {
  const pages = [
    ...builtIn
      .filter(({ status }) => !own.some((page) => page.status === status))
      .map(({ status, title, text }) => ({ status, contentType: html, body: pageOf(status, title, text) })),
    ...own,
  ];
  return pages.toSorted((a, b) => a.status - b.status).map(pageWords);
}

/** The page of a site that has none yet, as `status <status> …`. */
export const placeholderPage = (status: number, host: string): string =>
  pageWords({ status, contentType: html, body: pageOf(status, host, 'There is nothing here yet.') });

/** HAProxy takes no empty string for a page, and no type where there is none. */
const pageWords = ({ status, contentType, body }: ErrorPage): string =>
  body === ''
    ? `status ${status}`
    : `status ${status} content-type ${quotedText(contentType)} string ${quotedText(body)}`;
