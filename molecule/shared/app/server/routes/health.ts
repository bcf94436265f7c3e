import { Router } from 'express';
import { ping } from '../db/pool';

export const health = Router();

/**
 * As the real one does, it answers 200 and "status":"ok" even when its database is gone: only "database" tells.
 */
health.get('/api/health', async (_request, response) => {
  let database = 'connected';
  try {
    await ping();
  } catch (error) {
    database = 'error';
    console.error('[Health] Database check failed:', error);
  }
  response.set('Cache-Control', 'no-store');
  response.json({ status: 'ok', database, system: 'healthy', timestamp: new Date().toISOString() });
});
