import { Router } from 'express';
import type { Request, Response } from 'express';
import { query } from '../db/pool';
import { RESOURCES } from './resources';

type Input = Record<string, unknown>;
type Procedure = { kind: 'query' | 'mutation'; run: (input: Input) => Promise<unknown> };

const HTTP_STATUS = { BAD_REQUEST: 400, NOT_FOUND: 404, METHOD_NOT_SUPPORTED: 405, INTERNAL_SERVER_ERROR: 500 };
/** Server errors that the caller's values caused: missing or overlong value, wrong type, no such parent, duplicate. */
const CALLERS_FAULT = new Set([1048, 1062, 1264, 1265, 1364, 1366, 1406, 1451, 1452, 3140, 3819, 4025]);

class ApiError extends Error {
  constructor(readonly code: keyof typeof HTTP_STATUS, message: string) {
    super(message);
  }
}

function integer(input: Input, name: string, fallback: number | null, low: number, high: number): number {
  const value = input[name] ?? fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
    throw new ApiError('BAD_REQUEST', `${name} must be an integer between ${low} and ${high}`);
  }
  return value;
}

const ID_LIMIT = 4294967295;

function scalar(name: string, value: unknown): unknown {
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return value;
  throw new ApiError('BAD_REQUEST', `${name} must be a text, a number, true, false or null`);
}

function procedures(): Map<string, Procedure> {
  const all = new Map<string, Procedure>();
  for (const [table, { columns, writable, filters }] of Object.entries(RESOURCES)) {
    const where = (input: Input): [string, unknown[]] => {
      const used = filters.filter((name) => input[name] !== undefined);
      const sql = used.length ? ` WHERE ${used.map(() => '?? = ?').join(' AND ')}` : '';
      return [sql, used.flatMap((name) => [name, scalar(name, input[name])])];
    };
    const one = async (id: number) => {
      const [row] = await query('SELECT ?? FROM ?? WHERE id = ?', [columns, table, id]);
      if (!row) throw new ApiError('NOT_FOUND', `No ${table} with id ${id}`);
      return row;
    };
    all.set(`${table}.list`, {
      kind: 'query',
      run: async (input) => {
        const [condition, values] = where(input);
        const limit = integer(input, 'limit', 20, 1, 100);
        const offset = integer(input, 'offset', 0, 0, ID_LIMIT);
        const page = [columns, table, ...values, limit, offset];
        return query(`SELECT ?? FROM ??${condition} ORDER BY id LIMIT ? OFFSET ?`, page);
      },
    });
    all.set(`${table}.count`, {
      kind: 'query',
      run: async (input) => {
        const [condition, values] = where(input);
        return (await query(`SELECT COUNT(*) AS total FROM ??${condition}`, [table, ...values]))[0].total;
      },
    });
    all.set(`${table}.get`, { kind: 'query', run: async (input) => one(integer(input, 'id', null, 1, ID_LIMIT)) });
    all.set(`${table}.create`, {
      kind: 'mutation',
      run: async (input) => {
        const given = writable.filter((name) => input[name] !== undefined);
        if (!given.length) throw new ApiError('BAD_REQUEST', `Give at least one of: ${writable.join(', ')}`);
        const values = given.map((name) => scalar(name, input[name]));
        const { insertId } = await query('INSERT INTO ?? (??) VALUES (?)', [table, given, values]);
        return one(insertId);
      },
    });
    all.set(`${table}.delete`, {
      kind: 'mutation',
      run: async (input) => {
        const id = integer(input, 'id', null, 1, ID_LIMIT);
        const { affectedRows } = await query('DELETE FROM ?? WHERE id = ?', [table, id]);
        if (!affectedRows) throw new ApiError('NOT_FOUND', `No ${table} with id ${id}`);
        return { id };
      },
    });
  }
  all.set('system.stats', {
    kind: 'query',
    run: async () => {
      const [row] = await query(
        `SELECT COUNT(*) AS tables, VERSION() AS version FROM information_schema.TABLES
          WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'`,
      );
      return { ...row, endpoints: all.size, memory: process.memoryUsage().rss, uptime: process.uptime() };
    },
  });
  return all;
}

const PROCEDURES = procedures();

function readInput(request: Request): Input {
  let input: unknown = request.method === 'GET' ? request.query.input ?? '{}' : request.body ?? {};
  try {
    if (typeof input === 'string') input = JSON.parse(input);
  } catch {
    throw new ApiError('BAD_REQUEST', 'input is not JSON');
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new ApiError('BAD_REQUEST', 'input must be a JSON object');
  }
  return input as Input;
}

export const trpc = Router();

trpc.all('/api/trpc/:path', async (request: Request, response: Response) => {
  const path = request.params.path;
  try {
    const procedure = PROCEDURES.get(path);
    if (!procedure) throw new ApiError('NOT_FOUND', `No procedure on path "${path}"`);
    if (request.method !== (procedure.kind === 'query' ? 'GET' : 'POST')) {
      const message = `${request.method} is not supported by the ${procedure.kind} "${path}"`;
      throw new ApiError('METHOD_NOT_SUPPORTED', message);
    }
    const data = await procedure.run(readInput(request));
    if (procedure.kind === 'mutation') console.log(`[tRPC] ${path} done`);
    response.json({ result: { data } });
  } catch (error: any) {
    let code: keyof typeof HTTP_STATUS = 'INTERNAL_SERVER_ERROR';
    let message = 'Internal server error';
    if (error instanceof ApiError) ({ code, message } = error);
    else if (CALLERS_FAULT.has(error.errno)) [code, message] = ['BAD_REQUEST', error.sqlMessage];
    else console.error(`[tRPC] ${path} failed:`, error);
    const httpStatus = HTTP_STATUS[code];
    response.status(httpStatus).json({ error: { message, data: { code, httpStatus, path } } });
  }
});
