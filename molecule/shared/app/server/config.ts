import dotenv from 'dotenv';

// The working directory is the application's: PM2 takes the one that it is called in.
dotenv.config();

function port(name: string, fallback: number): number {
  const text = process.env[name] ?? String(fallback);
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 65535) {
    throw new Error(`${name} in .env is "${text}": give a port number between 1 and 65535`);
  }
  return value;
}

export const config = {
  port: port('PORT', 3001),
  database: {
    host: process.env.DB_HOST ?? '127.0.0.1',
    port: port('DB_PORT', 3306),
    user: process.env.DB_USER ?? 'orquestrador',
    password: process.env.DB_PASSWORD ?? '',
    database: process.env.DB_NAME ?? 'orquestrador_ia',
    ...(process.env.DB_SOCKET ? { socketPath: process.env.DB_SOCKET } : {}),
  },
  /** A line for each request on stdout, as web servers write it. */
  accessLog: process.env.ACCESS_LOG === 'combined',
  debugToken: process.env.APP_DEBUG_TOKEN ?? '',
};
