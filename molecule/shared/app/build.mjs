// Builds the server into dist/server and the frontend into dist/public.
// Both are bundled in memory first: a source that does not compile leaves the running build as it was.
import { build } from 'esbuild';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';

const common = { bundle: true, write: false, sourcemap: 'linked', logLevel: 'warning' };

async function bundles() {
  return Promise.all([
    build({
      ...common,
      entryPoints: ['server/index.ts'],
      outdir: 'dist/server',
      platform: 'node',
      target: 'node20',
      format: 'esm',
      packages: 'external',
    }),
    build({
      ...common,
      entryPoints: ['src/main.ts'],
      outdir: 'dist/public/assets',
      platform: 'browser',
      target: 'es2020',
      minify: true,
    }),
  ]);
}

try {
  const files = (await bundles()).flatMap((result) => result.outputFiles);
  files.push({ path: path.resolve('dist/public/index.html'), contents: await readFile('src/index.html') });
  for (const file of files) {
    await mkdir(path.dirname(file.path), { recursive: true });
    await writeFile(`${file.path}.partial`, file.contents);
  }
  for (const file of files) {
    await rename(`${file.path}.partial`, file.path);
    console.log(`${path.relative('.', file.path)}  ${(file.contents.length / 1024).toFixed(1)} kB`);
  }
} catch (error) {
  // esbuild has printed the place in the source already; anything else is said here.
  if (!error.errors) console.error(error.message);
  process.exitCode = 1;
}
