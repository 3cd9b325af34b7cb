// The reference: what one writes in an afternoon. Plain node:http and pg on the same PostgreSQL: one INSERT a request,
// SELECT * and JSON.stringify for a page. No token, no validation, no idempotency, no sequence.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const COLUMNS = [
  'organization_id', 'timestamp', 'id', 'sequence', 'recorded_at', 'principal_id', 'action', 'target_resource_type',
  'target_resource_id', 'status', 'outcome_description', 'data_classification', 'correlation_id', 'session_context',
  'metadata',
]; // prettier-ignore
const INSERT = {
  name: 'insert',
  text: `INSERT INTO bench_plain (${COLUMNS}) VALUES (${COLUMNS.map((_, index) => `$${index + 1}`)}) RETURNING *`,
};

async function insert(event) {
  const now = new Date();
  const { rows } = await pool.query({
    ...INSERT,
    values: [
      event.organizationId, now, randomUUID(), 1, now, event.principalId, event.action, event.targetResourceType,
      event.targetResourceId, event.status, event.outcomeDescription, event.dataClassification, event.correlationId,
      JSON.stringify(event.sessionContext), JSON.stringify(event.metadata),
    ], // prettier-ignore
  });
  return rows[0];
}

async function page(organizationId) {
  const { rows } = await pool.query({
    name: 'page',
    text: 'SELECT * FROM audit_event WHERE organization_id = $1 ORDER BY timestamp DESC, id DESC LIMIT 50',
    values: [organizationId],
  });
  return { data: rows };
}

const server = createServer((request, response) => {
  const respond = (status, body) => {
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  const fail = (error) => respond(500, { error: String(error) });
  if (request.method === 'GET') {
    const { searchParams } = new URL(request.url, 'http://localhost');
    page(searchParams.get('organization_ids')).then((body) => respond(200, body), fail);
    return;
  }
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    insert(JSON.parse(Buffer.concat(chunks).toString())).then((row) => respond(201, row), fail);
  });
});
server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready'));
