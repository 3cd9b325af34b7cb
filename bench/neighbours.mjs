// Servers of others that give out pages of the same table: PostGraphile, PostgREST, nginx with its cache.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onPath } from './programs.mjs';
import { freePort, root, startProcess, withClient } from './support.mjs';

/** The last that runs on Node 20; 28 MB with what it needs, which is why it is no dependency of ours. */
const POSTGRAPHILE = 'postgraphile@4.14.1';
const COLUMNS =
  'id timestamp recordedAt sequence organizationId principalId action targetResourceType targetResourceId status ' +
  'outcomeDescription dataClassification correlationId sessionContext metadata';

/** PostGraphile 4 over a view of the events, installed into a temporary folder once; undefined when it cannot be had. */
export async function startPostgraphile(databaseUrl) {
  const folder = join(tmpdir(), `audit-bench-${POSTGRAPHILE.replace('@', '-')}`);
  try {
    if (!existsSync(join(folder, 'node_modules/postgraphile'))) {
      mkdirSync(folder, { recursive: true });
      execFileSync(
        'npm',
        ['install', '--prefix', folder, '--no-fund', '--no-audit', POSTGRAPHILE],
        {
          stdio: ['ignore', 'ignore', 'pipe'],
        },
      );
    }
  } catch (error) {
    console.log(
      `PostGraphile: NOT MEASURED, it could not be installed: ${error.message.split('\n')[0]}`,
    );
    return undefined;
  }
  // A view, as it would make a type and an endpoint of each of 84 partitions.
  await withClient(databaseUrl, async (client) => {
    await client.query('CREATE SCHEMA bench');
    await client.query('CREATE VIEW bench.page AS SELECT * FROM public.audit_event');
  });
  const server = await startProcess(join(root, 'bench/postgraphile-server.mjs'), 'ready', {
    DATABASE_URL: databaseUrl,
    POSTGRAPHILE: createRequire(join(folder, 'package.json')).resolve('postgraphile'),
    NODE_ENV: 'production',
    GRAPHILE_ENV: 'production',
  });
  const pageOf = (organization) => ({
    url: `${server.url}/graphql`,
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      query: `{ allPages(condition: { organizationId: "${organization}" }, orderBy: [TIMESTAMP_DESC, ID_DESC], first: 50)
        { nodes { ${COLUMNS} } } }`,
    }),
  });
  return { ...server, pageOf };
}

/** PostgREST when it is on the PATH, else undefined. */
export async function startPostgrest(databaseUrl) {
  const program = onPath('postgrest');
  if (!program) {
    console.log('PostgREST: NOT MEASURED, it is not on the PATH');
    return undefined;
  }
  const port = await freePort();
  const server = await startProgram(program, [], port, {
    PGRST_DB_URI: databaseUrl,
    PGRST_DB_SCHEMAS: 'public',
    PGRST_DB_ANON_ROLE: new URL(databaseUrl).username,
    PGRST_SERVER_HOST: '127.0.0.1',
    PGRST_SERVER_PORT: String(port),
  });
  const pageOf = (organization) =>
    `${server.url}/audit_event?organization_id=eq.${organization}&order=timestamp.desc,id.desc&limit=50`;
  return { ...server, pageOf };
}

/** nginx that caches the responses of `upstream`, when it is installed, else undefined. */
export async function startNginxCache(upstream) {
  const program = onPath('nginx');
  if (!program) {
    console.log('nginx proxy_cache: NOT MEASURED, it is not on the PATH');
    return undefined;
  }
  const folder = mkdtempSync(join(tmpdir(), 'audit-bench-nginx-'));
  const port = await freePort();
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
     events { worker_connections 2048; }
     http {
       access_log off; keepalive_requests 100000000;
       client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
       uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
       proxy_cache_path ${folder}/cache keys_zone=pages:10m;
       server {
         listen 127.0.0.1:${port};
         location / { proxy_pass ${upstream}; proxy_cache pages; proxy_cache_valid 200 1h; }
       }
     }`,
  );
  const server = await startProgram(program, ['-p', folder, '-c', 'nginx.conf'], port, {});
  const stop = async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { ...server, stop };
}

async function startProgram(program, parameters, port, env) {
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(program, parameters, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${program} ended (${child.exitCode})`);
    if (await fetch(url).catch(() => undefined)) return { url, stop };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
