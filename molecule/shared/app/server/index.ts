import cluster from 'node:cluster';
import { createServer } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import express from 'express';
import type { NextFunction, Request, Response } from 'express';
import { config } from './config';
import { accessLine } from './access';
import { ping, pool } from './db/pool';
import { debug } from './routes/debug';
import { health } from './routes/health';
import { trpc } from './routes/trpc';

const BIND = '0.0.0.0';
/** Time for requests in flight to finish; shorter than kill_timeout (5 s) in ecosystem.config.cjs. */
const DRAIN_LIMIT_MS = 4000;
/** For so long busy keep-alive clients are told to go, by "Connection: close", before idle connections are cut. */
const FAREWELL_MS = 200;

const publicDir = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'public');
let draining = false;

const app = express();
app.disable('x-powered-by');
app.use((_request, response, next) => {
  if (draining) response.set('Connection', 'close');
  next();
});
if (config.accessLog) {
  app.use((request, response, next) => {
    response.on('finish', () => console.log(accessLine(request, response)));
    next();
  });
}
app.use(health);
app.use(express.json({ limit: '1mb' }));
app.use(trpc);
if (config.debugToken) app.use('/api/debug', debug(config.debugToken));
app.use('/api', (request, response) => {
  response.status(404).json({ error: { message: `No route ${request.method} ${request.originalUrl.split('?')[0]}` } });
});
app.use(express.static(publicDir));
app.get('*', (_request, response) => response.sendFile(path.join(publicDir, 'index.html')));
app.use((error: any, _request: Request, response: Response, next: NextFunction) => {
  if (response.headersSent) return next(error);
  const status = error.status >= 400 && error.status < 500 ? error.status : 500;
  if (status === 500) console.error('[Server] Request failed:', error);
  return response.status(status).json({ error: { message: status === 500 ? 'Internal server error' : error.message } });
});

const server = createServer(app);

// No handler for 'error' nor for uncaught exceptions: a port that is taken, or a bug, ends the process with its stack
// on stderr, and PM2 starts another.
server.listen(config.port, BIND, async () => {
  console.log(`[Server] Listening on http://${BIND}:${config.port} (pid ${process.pid})`);
  try {
    await ping();
    console.log('[Database] Connected');
  } catch (error) {
    console.error('[Database] Connection failed:', error);
  }
  process.send?.('ready'); // wait_ready: serving, and the database has been asked once
});

/**
 * A connection that the primary handed over while this worker was closing is given back to it, for another worker.
 * After a mere exit the primary would wait for the answer for ever, and the client with it.
 */
function leaveCluster(): Promise<void> {
  return new Promise((left) => {
    if (!cluster.worker?.isConnected()) return left();
    cluster.worker.once('disconnect', () => left());
    cluster.worker.disconnect();
  });
}

function drain(signal: string): void {
  if (draining) return;
  draining = true;
  console.log(`[Server] ${signal}: draining`);
  setTimeout(() => {
    server.close(async () => {
      await Promise.race([pool.end().catch(() => undefined), new Promise((done) => setTimeout(done, 500))]);
      await Promise.race([leaveCluster(), new Promise((done) => setTimeout(done, 500))]);
      console.log('[Server] Drained');
      process.exit(0);
    });
  }, FAREWELL_MS);
  // Requests that will not end in time are cut rather than waited for until SIGKILL.
  setTimeout(() => server.closeAllConnections(), DRAIN_LIMIT_MS).unref();
}
process.on('SIGINT', () => drain('SIGINT'));
process.on('SIGTERM', () => drain('SIGTERM'));
