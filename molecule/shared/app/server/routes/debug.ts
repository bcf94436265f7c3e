import { createHash, timingSafeEqual } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Router } from 'express';

const digest = (text: string) => createHash('sha256').update(text).digest();

/**
 * Ways to make the application fail as the real one fails. Mounted only when .env holds APP_DEBUG_TOKEN.
 * In cluster mode one call reaches one worker.
 */
export function debug(token: string): Router {
  const router = Router();
  const leaked: Buffer[] = [];

  const number = (value: unknown, fallback: number, high: number) => {
    const given = Number(value ?? fallback);
    return Number.isFinite(given) ? Math.min(Math.max(given, 0), high) : fallback;
  };

  router.use((request, response, next) => {
    const given = (request.get('authorization') ?? '').replace(/^Bearer /, '');
    if (timingSafeEqual(digest(given), digest(token))) next();
    else response.status(401).json({ error: 'Give the debug token as a bearer token' });
  });

  // Filled buffers: pages that are really there, outside V8's heap, so that memory rises past --max-old-space-size.
  router.post('/leak', async (request, response) => {
    const megabytes = Math.round(number(request.query.mb, 50, 2048));
    for (let i = 0; i < megabytes; i += 16) {
      leaked.push(Buffer.alloc(Math.min(16, megabytes - i) * 1024 * 1024, 0xa5));
      await delay(0);
    }
    response.json({ leakedMb: megabytes, rss: process.memoryUsage().rss, pid: process.pid });
  });

  router.post('/free', (_request, response) => {
    leaked.length = 0;
    setFlagsFromString('--expose-gc');
    runInNewContext('gc')(); // the pages go back now, not at the next collection some day
    response.json({ rss: process.memoryUsage().rss, pid: process.pid });
  });

  router.post('/error', (request, response) => {
    const count = Math.round(number(request.query.count, 1, 1000));
    const message = String(request.query.message ?? 'Simulated failure of a background job').slice(0, 500);
    for (let i = 0; i < count; i += 1) console.error('[Jobs] Unexpected error:', new Error(message));
    response.json({ logged: count });
  });

  router.post('/log', async (request, response) => {
    const lines = Math.round(number(request.query.lines, 1000, 1_000_000));
    const perSecond = Math.max(10, number(request.query.rate, 5000, 100_000));
    const started = Date.now();
    for (let i = 1; i <= lines; i += 1) {
      console.log(`[Jobs] line ${i} of ${lines}`);
      const ahead = (i / perSecond) * 1000 - (Date.now() - started);
      if (ahead > 5) await delay(ahead);
    }
    response.json({ lines });
  });

  router.all('/slow', async (request, response) => {
    const ms = number(request.query.ms, 3000, 60_000);
    await delay(ms);
    response.json({ ms, pid: process.pid });
  });

  // Busy in slices: the processor is taken, requests are answered late but answered.
  router.post('/burn', (request, response) => {
    const until = Date.now() + number(request.query.ms, 1000, 300_000);
    const slice = () => {
      const end = Date.now() + 50;
      while (Date.now() < end) digest('busy');
      if (Date.now() < until) setImmediate(slice);
    };
    setImmediate(slice);
    response.json({ until: new Date(until).toISOString(), pid: process.pid });
  });

  // Busy in one piece: the event loop stands still, the port stays open, nobody is answered.
  router.post('/block', (request, response) => {
    const until = Date.now() + number(request.query.ms, 10_000, 600_000);
    response.json({ until: new Date(until).toISOString(), pid: process.pid });
    setTimeout(() => {
      while (Date.now() < until);
    }, 100);
  });

  router.post('/crash', (_request, response) => {
    response.json({ pid: process.pid });
    setImmediate(() => {
      throw new Error('Simulated uncaught exception');
    });
  });

  return router;
}
