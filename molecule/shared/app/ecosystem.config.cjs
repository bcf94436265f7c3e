// Without a cwd, as the real application's: PM2 takes what is relative from the directory that it is called in.
// INSTANCES=2 pm2 start ecosystem.config.cjs   runs two workers in cluster mode; one process in fork mode otherwise.
const instances = Number.parseInt(process.env.INSTANCES || '1', 10);

module.exports = {
  apps: [
    {
      name: 'orquestrador-v3',
      script: 'dist/server/index.js',
      instances,
      exec_mode: instances > 1 ? 'cluster' : 'fork',
      node_args: ['--max-old-space-size=512', '--max-http-header-size=16384'],
      out_file: './logs/out.log',
      error_file: './logs/error.log',
      merge_logs: true,
      log_date_format: 'YYYY-MM-DD HH:mm:ss Z',
      max_memory_restart: '1G',
      // The server says when it listens; an instance that is told to go drains for less than kill_timeout.
      wait_ready: true,
      listen_timeout: 8000,
      kill_timeout: 5000,
      min_uptime: '5s',
      max_restarts: 10,
      env: { NODE_ENV: 'production' },
    },
  ],
};
