import type { Request, Response } from 'express';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const two = (value: number) => String(value).padStart(2, '0');
const quoted = (text: string | undefined) => `"${(text ?? '-').replace(/["\\]/g, '\\$&')}"`;

/** A request and its answer in the "combined" format of web servers. */
export function accessLine(request: Request, response: Response): string {
  const at = new Date();
  const date = `${two(at.getUTCDate())}/${MONTHS[at.getUTCMonth()]}/${at.getUTCFullYear()}`;
  const clock = [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()].map(two).join(':');
  const line = `${request.method} ${request.originalUrl} HTTP/${request.httpVersion}`;
  const size = response.getHeader('content-length') ?? '-';
  return (
    `${request.socket.remoteAddress ?? '-'} - - [${date}:${clock} +0000] ${quoted(line)} ${response.statusCode} ${size} ` +
    `${quoted(request.get('referer'))} ${quoted(request.get('user-agent'))}`
  );
}
